"""What becomes one kernel: the structure that fusion gives to a few graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's own name)

from mkgen.frontend import lower_task
from mkgen.ir.fusion import fuse
from mkgen.ir.kernel import Kernel
from mkgen.task import Task, Tensor, find_task
from tests.matrix_support import best_by_estimate, generator


def kernels(function: Callable[..., Any], **shapes: str) -> tuple[Kernel, ...]:
    """The kernels of `function` over inputs of `shapes`, every named size being distinct."""
    inputs = {name: Tensor(shape) for name, shape in shapes.items()}
    names = sorted({s for t in inputs.values() for s in t.symbols()})
    sizes = {name: 11 + 2 * i for i, name in enumerate(names)} | {"R": 3, "S": 3}
    task = Task(
        name="graph", category="math", reference=function, inputs=inputs, bench=sizes,
        check=[sizes], heldout=[sizes],
    )  # fmt: skip
    return fuse(lower_task(task))


def kinds(made: tuple[Kernel, ...]) -> list[str]:
    return [k.kind for k in made]


@pytest.mark.parametrize(
    ("task", "kind", "reductions"),
    [
        ("relu", "pointwise", []),
        ("bias_gelu", "pointwise", []),
        ("embedding", "pointwise", []),
        ("sum_reduce", "rowwise", ["sum"]),
        ("softmax", "rowwise", ["max", "sum"]),
        ("layer_norm", "rowwise", ["sum", "sum"]),
        ("argmax", "rowwise", ["max", "min"]),
        ("matmul", "contraction", ["sum"]),
        ("linear_relu", "contraction", ["sum"]),
        ("conv2d", "contraction", ["sum"]),
        ("conv2d_bias_relu", "contraction", ["sum"]),
        ("max_pool2d", "window", ["max"]),
    ],
)
def test_every_task_is_one_kernel(task: str, kind: str, reductions: list[str]) -> None:
    (kernel,) = fuse(lower_task(find_task(task)))
    assert kernel.kind == kind
    assert [r.combine for r in kernel.reductions] == reductions


def test_pointwise_chain_is_one_kernel_that_reads_each_input_once() -> None:
    (kernel,) = kernels(lambda x, z: torch.exp(x * z) + x - torch.tanh(z), x="A, B", z="A, B")
    assert kernel.kind == "pointwise"
    assert set(kernel.reads()) == {"x", "z"} and len(kernel.writes()) == 1


def test_pointwise_before_a_reduction_is_computed_in_its_load() -> None:
    (kernel,) = kernels(lambda x: torch.sum(torch.exp(x), -1), x="A, B")
    assert kinds((kernel,)) == ["rowwise"] and kernel.reads() == ("x",)


def test_pointwise_after_a_product_is_its_epilogue() -> None:
    (kernel,) = kernels(lambda a, b, c: F.gelu(a @ b + c), a="M, K", b="K, N", c="N")
    assert kernel.kind == "contraction"
    assert set(kernel.reads()) == {"a", "b", "c"}


def test_softmax_of_a_product_is_two_kernels() -> None:
    """A row of the product is not in one block, so that its maximum is not known there."""
    made = kernels(lambda a, b: torch.softmax(a @ b, -1), a="M, K", b="K, N")
    assert kinds(made) == ["contraction", "rowwise"]
    assert made[1].reads() == made[0].writes()


def test_two_products_are_two_kernels() -> None:
    made = kernels(lambda a, b, c: (a @ b) @ c, a="M, K", b="K, N", c="N, L")
    assert kinds(made) == ["contraction", "contraction"]
    assert made[0].writes()[0] in made[1].reads()


def test_relu_after_pooling_joins_the_window() -> None:
    (kernel,) = kernels(lambda x: torch.relu(F.max_pool2d(x, 3)), x="N, C, H, W")
    assert kernel.kind == "window"


def test_relu_before_a_padded_pooling_is_a_kernel_of_its_own() -> None:
    """Its values are read under a guard, several times each."""
    made = kernels(lambda x: F.max_pool2d(torch.relu(x), 3, padding=1), x="N, C, H, W")
    assert kinds(made) == ["pointwise", "window"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.max_pool2d(torch.exp(x).transpose(2, 3), 3, 1, 1),
        lambda x: F.pad(F.pad(x, (1, 2), value=1.0).transpose(2, 3), (1, 1), value=-3.0),
    ],
    ids=["of arithmetic", "of another guard"],
)
def test_guarded_load_of_a_layout_is_fused_only_with_what_is_in_memory(
    function: Callable[..., Any],
) -> None:
    """The guard of a load cannot hold arithmetic back, and has one value for what it refuses."""
    first, second = kernels(function, x="N, C, H, W")
    assert first.reads() == ("x",) and second.reads() == first.writes()
    (copied,) = kernels(lambda x: F.max_pool2d(x.transpose(2, 3), 3, 1, 1), x="N, C, H, W")
    assert copied.reads() == ("x",)


def test_neighbouring_axes_are_walked_as_one() -> None:
    (kernel,) = kernels(lambda x: torch.relu(x), x="A, B, C, D")
    assert len(kernel.rows) == 1
    (rowwise,) = kernels(lambda x: torch.softmax(x, -1), x="A, B, C")
    assert len(rowwise.rows) == 1 and len(rowwise.cols) == 1


def test_normalisation_of_a_middle_axis_keeps_its_axes() -> None:
    (kernel,) = kernels(lambda x: torch.softmax(x, 1), x="A, B, C")
    assert kernel.kind == "rowwise" and len(kernel.rows) == 2


def test_the_larger_of_two_integers_is_not_computed_in_float() -> None:
    """The helper `maximum` takes floats: integers above 2**24 would come back changed."""
    inputs = {n: Tensor("A", dtype="int32", distribution="integers", high=9) for n in ("x", "z")}
    sizes = {"A": 4099}
    task = Task(
        name="larger", category="math", reference=torch.maximum, inputs=inputs, bench=sizes,
        check=[sizes], heldout=[sizes],
    )  # fmt: skip
    made = generator(task, "cuda:sm_90a")
    text = best_by_estimate(made).program(made.workload).sources[0].body
    assert "x[a] > z[a] ? x[a] : z[a]" in text and "maximum(" not in text

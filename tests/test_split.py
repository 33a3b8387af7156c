"""Reductions of a whole tensor become two steps, of any size, without a look at the sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mkgen.frontend import lower_task
from mkgen.ir.interpreter import run
from mkgen.ir.nest import Graph
from mkgen.task import Task, Tensor

SIZES = {"A": 7, "B": 13, "C": 29}
#: One element, one part, a whole number of parts, several parts with a tail.
OTHERS = ({"A": 1, "B": 1, "C": 1}, {"A": 2, "B": 3, "C": 7}, {"A": 12, "B": 10, "C": 10}, SIZES)


def lowered(reference: Callable[..., Any], shape: str = "A, B, C") -> Graph:
    task = Task(
        name="mine", category="reduce", reference=reference, inputs={"x": Tensor(shape)},
        bench=SIZES, check=[SIZES], heldout=[],
    )  # fmt: skip
    return lower_task(task)


WHOLE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sum": torch.sum,
    "mean_of_squares": lambda x: torch.mean(torch.ops.aten.square.default(x)),
    "exp": lambda x: torch.exp(x).sum(),
    "product": lambda x: torch.prod(x * 0.01 + 1.0),
    "largest": torch.max,
    "smallest": torch.min,
    "first_largest": torch.argmax,
    "variance": lambda x: torch.var(x, correction=0),
    "crossed": lambda x: (x * x.amax(1, keepdim=True)).sum(),
}


@pytest.mark.parametrize("name", WHOLE)
def test_two_steps_give_what_pytorch_gives(name: str) -> None:
    graph = lowered(WHOLE[name])
    for sizes in OTHERS:
        x = np.random.default_rng(5).standard_normal(tuple(sizes.values()), dtype=np.float32) + 2
        (got,) = run(graph, sizes, {"x": x}).values()
        want = WHOLE[name](torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(got, want, rtol=2e-5, err_msg=f"{name} {sizes}")


def test_parts_are_named_sizes() -> None:
    graph = lowered(torch.sum)
    partial, rest = graph.nests
    assert [a.kind for a in partial.axes] == ["parallel", "reduce"]
    assert [a.kind for a in rest.axes] == ["reduce"]
    values = graph.sizes({"A": 2048, "B": 512, "C": 100})
    assert values["PARTS"] == 1024
    assert (values["PARTS"] - 1) * values["PART_LENGTH"] < 2048 * 512 * 100
    assert values["PARTS"] * values["PART_LENGTH"] >= 2048 * 512 * 100


def test_rows_are_left_alone() -> None:
    for reference in (lambda x: x.sum(-1), lambda x: x.amax((0, 2))):
        assert "PARTS" not in lowered(reference).derived

"""The tasks are fit to judge by: controls fail, small sizes are awkward, bench is real."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mkgen.codegen.candidate import lowered, scales
from mkgen.evaluate.arrays import is_floating
from mkgen.evaluate.compare import Expected
from mkgen.evaluate.controls import controls_verdict
from mkgen.evaluate.inputs import Inputs
from mkgen.evaluate.oracle import Judge
from mkgen.program import PrecisionClass
from mkgen.task import CATEGORIES, Sizes, find_task, task_files
from tests.matrix_support import EACH_TASK, SAMPLE, TASKS

JUDGE = Judge(scales)

#: The operations that break naive designs; none of them may go missing.
NAMED = (
    "conv2d_bn_train_relu", "conv_transpose3d", "grouped_conv2d", "depthwise_conv2d",
    "softmax_393216", "cumsum", "index_add_duplicates", "causal_attention_fp16", "gru_2layer",
    "bilinear_resize", "max_pool2d_indices", "argmax_ties", "resnet_block", "transformer_block",
)  # fmt: skip


def test_every_category_has_tasks() -> None:
    assert len(TASKS) >= 60
    assert {path.parent.name for path in task_files().values()} == set(CATEGORIES)
    assert set(NAMED) <= set(TASKS)
    assert {find_task(name).category for name in SAMPLE} == set(CATEGORIES)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_called_as_its_file_is(name: str) -> None:
    task = find_task(name)
    assert task.name == name and task.category == task_files()[name].parent.name


@pytest.mark.parametrize("name", EACH_TASK)
def test_controls_reject_wrong_answers(name: str) -> None:
    assert JUDGE.controls(find_task(name), PrecisionClass.STRICT) == ""


@pytest.mark.parametrize("name", EACH_TASK)
def test_every_wrong_answer_fails_on_every_small_size(name: str) -> None:
    """Zeros, the mean, a copy of an input and NaN: named one by one, held-out sizes too."""
    task = find_task(name)
    for workload in task.workloads()[1:]:
        case = JUDGE.case(task, workload, PrecisionClass.STRICT)
        assert not case.ill_conditioned
        right = [e.oracle.astype(e.dtype) for e in case.expected]
        assert JUDGE.check(case, right).ok, workload.name
        for place, expected in enumerate(case.expected):
            for what, answer in wrong_answers(expected, case.inputs).items():
                answers = [*right[:place], answer, *right[place + 1 :]]
                told = (workload.name, expected.label, what)
                assert not JUDGE.check(case, answers).ok, told
        assert controls_verdict([case]) == ""


def wrong_answers(expected: Expected, inputs: Inputs) -> dict[str, np.ndarray]:
    """What a kernel that computes nothing leaves in one output."""
    want, dtype = expected.oracle, expected.dtype
    unwritten = True if dtype == np.bool_ else np.nan if is_floating(dtype) else -1
    wrong = {
        "zeros": np.zeros(want.shape, dtype),
        "unwritten": np.full(want.shape, unwritten, dtype),
    }
    if want.size > 1:  # the mean of one element is right
        wrong["mean"] = np.full(want.shape, want.mean()).astype(dtype)
    return wrong | {
        f"copy of {key}": array.reshape(want.shape).astype(dtype)
        for key, array in inputs.items()
        if array.size == want.size
    }


def test_a_task_that_cannot_tell_is_found_out() -> None:
    """The controls of a task whose answer is zero must complain, else they check nothing."""
    from mkgen.task import Task, Tensor

    sizes = {"A": 5, "B": 7}
    task = Task(
        name="nothing", category="math", reference=lambda x: x * 0.0,
        inputs={"x": Tensor("A, B")}, bench=sizes, check=[sizes], heldout=[sizes],
    )  # fmt: skip
    assert "zero everywhere" in JUDGE.controls(task, PrecisionClass.STRICT)


def is_prime(value: int) -> bool:
    return value > 1 and all(value % d for d in range(2, math.isqrt(value) + 1))


@pytest.mark.parametrize("name", EACH_TASK)
def test_small_sizes_are_awkward(name: str) -> None:
    task = find_task(name)
    assert len(task.check) >= 2 and len(task.heldout) >= 2
    for group in (task.check, task.heldout):
        every = [v for sizes in group for v in sizes.values()]
        assert any(v % 2 and v > 3 for v in every), "no odd size"
        assert any(is_prime(v) and v > 3 for v in every), "no prime size"
    assert not {tuple(s.items()) for s in task.check} & {tuple(s.items()) for s in task.heldout}


@pytest.mark.parametrize("name", EACH_TASK)
def test_bench_is_of_a_size_people_run(name: str) -> None:
    task = find_task(name)
    bench, *small = task.workloads()
    assert bench.name == bench.role == "bench" and bench.sizes == task.bench

    graph = lowered(task)
    kept = [name for name, info in graph.tensors.items() if info.role != "temporary"]

    def elements(sizes: Sizes) -> int:
        """Of all that is read or written from outside: parameters and outputs too."""
        return sum(math.prod(graph.shape(name, graph.sizes(sizes))) for name in kept)

    assert elements(bench.sizes) > 20 * max(elements(w.sizes) for w in small)
    assert 4 * elements(bench.sizes) > 10_000_000, "a launch would cost more than the work"

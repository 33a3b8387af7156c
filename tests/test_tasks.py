"""The twelve tasks are fit to judge by: controls fail, small sizes are awkward, bench is real."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mkgen.codegen.candidate import scales
from mkgen.evaluate.controls import controls_verdict
from mkgen.evaluate.oracle import Judge
from mkgen.program import PrecisionClass
from mkgen.task import CATEGORIES, find_task, task_files
from tests.matrix_support import TASKS

JUDGE = Judge(scales)


def test_there_are_twelve_in_their_categories() -> None:
    assert len(TASKS) == 12
    for name, path in task_files().items():
        task = find_task(name)
        assert task.name == name and task.category == path.parent.name in CATEGORIES


@pytest.mark.parametrize("name", TASKS)
def test_controls_reject_wrong_answers(name: str) -> None:
    assert JUDGE.controls(find_task(name), PrecisionClass.STRICT) == ""


@pytest.mark.parametrize("name", TASKS)
def test_every_wrong_answer_fails_on_every_small_size(name: str) -> None:
    """Zeros, the mean, a copy of an input and NaN: named one by one, held-out sizes too."""
    task = find_task(name)
    for workload in task.workloads()[1:]:
        case = JUDGE.case(task, workload, PrecisionClass.STRICT)
        assert not case.ill_conditioned
        (expected,) = case.expected
        want = expected.oracle
        wrong = {
            "zeros": np.zeros(want.shape, expected.dtype),
            "mean": np.full(want.shape, want.mean()).astype(expected.dtype),
            "unwritten": np.full(
                want.shape, np.nan if expected.dtype.kind == "f" else -1
            ).astype(expected.dtype),
        }  # fmt: skip
        wrong |= {
            f"copy of {key}": array.reshape(want.shape).astype(expected.dtype)
            for key, array in case.inputs.items()
            if array.size == want.size
        }
        for what, answer in wrong.items():
            assert not JUDGE.check(case, [answer]).ok, (workload.name, what)
        assert JUDGE.check(case, [want.astype(expected.dtype)]).ok, workload.name
        assert controls_verdict([case]) == ""


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


@pytest.mark.parametrize("name", TASKS)
def test_small_sizes_are_awkward(name: str) -> None:
    task = find_task(name)
    assert len(task.check) >= 2 and len(task.heldout) >= 2
    for group in (task.check, task.heldout):
        every = [v for sizes in group for v in sizes.values()]
        assert any(v % 2 and v > 3 for v in every), "no odd size"
        assert any(is_prime(v) and v > 3 for v in every), "no prime size"
    assert not {tuple(s.items()) for s in task.check} & {tuple(s.items()) for s in task.heldout}


@pytest.mark.parametrize("name", TASKS)
def test_bench_is_of_a_size_people_run(name: str) -> None:
    task = find_task(name)
    bench, *small = task.workloads()
    assert bench.name == bench.role == "bench" and bench.sizes == task.bench

    def elements(sizes: dict[str, int]) -> int:
        return sum(math.prod(t.resolve(sizes)) for t in task.inputs.values())

    assert elements(bench.sizes) > 20 * max(elements(w.sizes) for w in small)
    assert 4 * elements(bench.sizes) > 10_000_000, "a launch would cost more than the work"

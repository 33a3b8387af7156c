"""The interpreter's error bounds hold: float32 runs of well-conditioned inputs stay inside."""

from __future__ import annotations

import numpy as np
import pytest

from mkgen.evaluate.inputs import draw, reference_call
from mkgen.frontend import lower_task
from mkgen.ir.interpreter import run, run_with_error
from mkgen.task import find_task
from tests.frontend_cases import CASES, Case
from tests.matrix_support import TASKS
from tests.sampling import every

EPSILON = float(np.finfo(np.float32).eps)
FLOATS = [c for c in CASES if not c.name.startswith(("arg", "floor"))]


@pytest.mark.parametrize("case", every(4, FLOATS), ids=lambda c: c.name)
def test_float32_run_is_inside_the_bound(case: Case) -> None:
    sizes = case.sizes(np.random.default_rng(7))
    task = case.task(sizes)
    graph = lower_task(task)
    inputs = draw(task, task.workloads()[0], 7)
    (narrow,) = run(graph, sizes, inputs).values()
    ((wide, bound),) = run_with_error(graph, sizes, inputs).values()
    assert bound.shape == wide.shape and (bound >= 0).all() and np.isfinite(bound).all()
    error = np.abs(narrow.astype(np.float64) - wide)
    # one further rounding: the result itself is stored in float32, where it may also underflow
    allowed = EPSILON * (bound + np.abs(wide)) + np.finfo(np.float32).tiny
    assert (error <= allowed).all(), (sizes, float((error / np.maximum(allowed, 1e-300)).max()))


#: Long sums of normal values, and weights of both signs: results far smaller than their terms.
CANCELLING = ("cumprod", "cumsum", "exclusive_reverse_cumsum", "masked_cumsum", "bicubic_resize")


@pytest.mark.parametrize("task", TASKS)
def test_bound_is_near_what_happens(task: str) -> None:
    """A bound a thousand times too wide would hold, and let every wrong kernel pass."""
    made = find_task(task)
    workload = next(w for w in made.workloads() if w.role == "check")
    held = reference_call(made, workload.sizes).parameters
    inputs = {**draw(made, workload, 3), **held}
    for wide, bound in run_with_error(lower_task(made), workload.sizes, inputs).values():
        if not np.issubdtype(wide.dtype, np.floating):
            continue
        size = np.maximum(np.abs(wide), np.abs(wide).mean())
        assert float((bound / size).max()) < (10_000 if task in CANCELLING else 3000)


@pytest.mark.parametrize(
    "task", ["softmax", "argmax", "prod_reduce", "mse_loss", "max_pool2d", "gelu", "concat"]
)
def test_stretches_give_what_the_whole_gives(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A nest is computed in stretches of its longest axis, whatever their length."""
    made = find_task(task)
    workload = next(w for w in made.workloads() if w.role == "check")
    inputs = draw(made, workload, 3)
    graph = lower_task(made)
    whole = run_with_error(graph, workload.sizes, inputs)
    monkeypatch.setattr("mkgen.ir.interpreter._BLOCK", 1000)
    for name, (value, bound) in run_with_error(graph, workload.sizes, inputs).items():
        np.testing.assert_allclose(value, whole[name][0], rtol=1e-12, atol=1e-300)
        np.testing.assert_allclose(bound, whole[name][1], rtol=1e-9, atol=1e-300)

"""Controls: answers that are wrong on purpose. A task that lets one pass cannot judge anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mkgen.evaluate.arrays import is_floating
from mkgen.evaluate.compare import Expected, compare

if TYPE_CHECKING:
    from mkgen.evaluate.oracle import Case


def controls_verdict(cases: Sequence[Case]) -> str:
    """Which control passes on which check workload, with the remedy; empty when none does."""
    if not cases:
        return "the task has no check workload; give it check sizes"
    for case in cases:
        if not any(e.oracle.size for e in case.expected):
            return f"{case.workload.name}: the outputs have no elements; give it larger sizes"
        for name, label in passing(case):
            return (
                f"{case.workload.name}: {name} passes for {label}; choose inputs for which the "
                "right answer differs from it"
            )
    return ""


def passing(case: Case) -> Iterator[tuple[str, str]]:
    """Every control that passes on `case`, with the label of the output it passes for."""
    for expected in case.expected:
        for name, answer in wrong_answers(expected, case.inputs):
            if compare(expected, answer).ok:
                yield name, expected.label


def wrong_answers(
    expected: Expected, inputs: dict[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """What a kernel that computes nothing gives for one output, by name."""
    want, dtype = expected.oracle, expected.dtype
    if not want.size:
        return
    yield "the answer zero everywhere", np.zeros(want.shape, dtype)
    yield "the answer one everywhere", np.ones(want.shape, dtype)
    # The mean of one element is that element: it is no wrong answer there.
    if want.size > 1:
        yield "the mean of the right answer", np.full(want.shape, _mean(want, dtype), dtype)
    yield "an unwritten (NaN, lowest or true) output", np.full(want.shape, _poison(dtype), dtype)
    if expected.state:
        yield "state left as it was", inputs[expected.state]
    for name, array in inputs.items():
        if name != expected.state and array.size == want.size:
            with np.errstate(invalid="ignore", over="ignore"):
                yield f"a copy of the input {name}", array.reshape(want.shape).astype(dtype)


def _mean(want: np.ndarray, dtype: np.dtype) -> float | int | bool:
    finite = want[np.isfinite(want)] if is_floating(dtype) else want
    mean = float(finite.mean(dtype=np.float64)) if finite.size else 0.0
    if is_floating(dtype):
        return mean
    return mean >= 0.5 if dtype == np.bool_ else round(mean)


def _poison(dtype: np.dtype) -> float | int | bool:
    if is_floating(dtype):
        return float("nan")
    return True if dtype == np.bool_ else int(np.iinfo(dtype).min)

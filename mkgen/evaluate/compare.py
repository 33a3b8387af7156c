"""Comparison of a candidate's arrays with what is expected; in the parent, in blocks.

A floating element is right when its error from the float64 oracle is within its budget,
`max(OWN_FACTOR * own_error, floor)`; NaN and infinities must stand exactly where the oracle,
rounded to the output's dtype, has them. Zero is right, too, where the oracle is a denormal number
of float32: XLA for CPU gives zero there, and OpenCL (CL_FP_DENORM) and SYCL leave them to the
device. 16-bit floats are computed in float32. All elements of a 16-bit output together must also
be rounded as well as PyTorch's are: a value that is cut off lies within any one element's budget.
Everything else is exact, but for the indices of equally good elements.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from mkgen.evaluate.arrays import is_floating
from mkgen.record import ErrorFigures

#: Of PyTorch's own worst error, what every element may have.
OWN_FACTOR = 4.0
#: Of PyTorch's root mean square error, in units in the last place, what a 16-bit output may have.
#: Rounding to nearest gives 1/sqrt(12) of a unit, cutting off 1/sqrt(3): twice as much.
SPREAD_FACTOR = 1.5
#: Fewer elements than this say too little about their spread.
SPREAD_COUNT = 64
#: Elements compared at once: a full-size float64 temporary would be a gigabyte.
_BLOCK = 1 << 20
_LARGEST = sys.float_info.max
_SMALLEST_NORMAL = float(np.finfo(np.float32).smallest_normal)

Slices = tuple[slice, ...]


@dataclass(frozen=True)
class IndexOutput:
    """What an index output points into, by the oracle."""

    values: np.ndarray
    """float64; what the reference compares, with the axis the index runs along."""
    axis: int
    budget: float
    """How far the chosen value may be from the best one."""


@dataclass(frozen=True)
class Expected:
    """One output as it should be."""

    label: str
    """`output`, `output 2`, or `state running_mean`."""
    state: str
    """Name of the mutated state this is; empty for a returned output."""
    dtype: np.dtype
    oracle: np.ndarray
    """float64 for a floating output, the exact array for another."""
    own_error: float
    """PyTorch's own worst absolute error in the task's dtype and precision class."""
    floor: np.ndarray
    """Broadcastable to the output: what rounding alone may cost each element."""
    index: IndexOutput | None = None
    strict_error: float = 0.0
    """PyTorch's own error without what a relaxed precision class adds to it."""
    own_share: float = 0.0
    """PyTorch's own worst error as a share of the floor."""
    spread: float | None = None
    """Root mean square error, in units in the last place, that a 16-bit output may have."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.oracle.nbytes + self.floor.nbytes


@dataclass(frozen=True)
class Comparison:
    """The outcome for one output or for all of one run."""

    ok: bool
    figures: ErrorFigures | None
    message: str = ""


def epsilon(dtype: np.dtype) -> float:
    """Distance from 1 to the next number of a floating `dtype`."""
    return float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]


def compare(expected: Expected, got: np.ndarray) -> Comparison:
    """Judges one output."""
    want = expected.oracle
    if got.shape != want.shape:
        text = f"{expected.label} has shape {got.shape}; {want.shape} is expected"
        return Comparison(False, None, text)
    if got.dtype != expected.dtype:
        text = f"{expected.label} is {got.dtype.name}; {expected.dtype.name} is expected"
        return Comparison(False, None, text)
    if expected.index is not None:
        return _compare_indices(expected, expected.index, got)
    if not is_floating(expected.dtype):
        return _compare_exact(expected, got)
    return _compare_floats(expected, got)


def compare_all(expected: Iterable[Expected], got: Iterable[np.ndarray]) -> Comparison:
    """Judges all outputs of one run, in order; the message is of the first wrong one."""
    each = [compare(e, g) for e, g in zip(expected, got, strict=True)]
    wrong = [c for c in each if not c.ok]
    figures = worst(c.figures for c in each)
    return Comparison(not wrong, figures, wrong[0].message if wrong else "")


def worst(figures: Iterable[ErrorFigures | None]) -> ErrorFigures | None:
    """The figures with the largest share of the budget."""
    return max((f for f in figures if f is not None), key=lambda f: f.share, default=None)


def blocks(shape: tuple[int, ...], limit: int = _BLOCK) -> Iterator[Slices]:
    """Index tuples that cover `shape` in C order, each of at most about `limit` elements."""
    total = math.prod(shape)
    if total == 0:
        return
    if total <= limit or not shape:
        yield tuple(slice(0, n) for n in shape)
        return
    inner = total // shape[0]
    if inner > limit:
        for row in range(shape[0]):
            for rest in blocks(shape[1:], limit):
                yield (slice(row, row + 1), *rest)
        return
    step = limit // inner
    for start in range(0, shape[0], step):
        yield (slice(start, min(start + step, shape[0])), *(slice(0, n) for n in shape[1:]))


class _Worst:
    """The worst element so far, and the first wrong one."""

    def __init__(self) -> None:
        self.max_abs = self.max_rel = self.share = self.budget = 0.0
        self.message = ""

    def figures(self) -> ErrorFigures:
        return ErrorFigures(
            max_abs=self.max_abs, max_rel=self.max_rel, budget=self.budget, share=self.share
        )

    def see(self, error: np.ndarray, want: np.ndarray, budget: np.ndarray) -> None:
        """Adds finite elements."""
        if not error.size:
            return
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            share = np.where(error == 0, 0.0, error / budget)
            relative = np.where(want == 0, 0.0, error / np.abs(want))
        self.max_abs = max(self.max_abs, float(error.max()))
        self.max_rel = max(self.max_rel, min(float(relative.max()), _LARGEST))
        at = int(share.argmax())
        # at the start too, so that a pass without error still says what was allowed
        if share[at] > self.share or self.budget == 0.0:
            self.share = min(float(share[at]), _LARGEST)
            self.budget = float(budget[at])


def _first(wrong: np.ndarray, block: Slices) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Index of the first true element in the block, and in the whole."""
    inside = tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))
    return inside, tuple(i + s.start for i, s in zip(inside, block, strict=True))


def _compare_floats(expected: Expected, got: np.ndarray) -> Comparison:
    state, own, squares = _Worst(), OWN_FACTOR * expected.own_error, Squares(expected.dtype)
    largest = float(ml_dtypes.finfo(expected.dtype).max)  # type: ignore[no-untyped-call]
    # half a unit in the last place above the largest number is where rounding gives infinity
    overflow = largest * (1 + epsilon(expected.dtype) / 4)
    floor = np.broadcast_to(expected.floor, got.shape)
    normal = _SMALLEST_NORMAL if expected.dtype.itemsize <= 4 else 0.0
    for block in blocks(got.shape):
        want = expected.oracle[block]
        have = got[block].astype(np.float64)
        infinite = np.abs(want) >= overflow
        special = infinite | np.isnan(want)
        target = np.where(infinite, np.copysign(np.inf, want), want)
        finite = ~special & np.isfinite(have)
        same = special & ((target == have) | (np.isnan(target) & np.isnan(have)))
        allowed = np.asarray(floor[block], np.float64)
        budget = np.where(np.isfinite(allowed), np.maximum(allowed, own), own)
        flushed = (have == 0) & (np.abs(want) < normal)
        counted = finite & ~flushed
        error = np.abs(np.where(counted, have - np.where(counted, want, 0.0), 0.0))
        wrong = ~(finite | same) | (error > budget)
        if expected.spread is not None:
            squares.see(error, want, allowed, finite)
        state.see(error[finite], want[finite], budget[finite])
        if not (finite | same).all():
            state.share = _LARGEST
        if wrong.any() and not state.message:
            inside, index = _first(wrong, block)
            state.message = (
                f"{expected.label}{list(index)}: expected {target[inside]:.9g}, "
                f"got {have[inside]:.9g}; error {abs(have[inside] - target[inside]):.3g}, "
                f"allowed {budget[inside]:.3g}"
            )
    if expected.spread is not None and squares.mean() > expected.spread and not state.message:
        state.message = (
            f"{expected.label}: the errors are {squares.mean():.3g} units in the last place of "
            f"{expected.dtype.name} (root mean square), {expected.spread:.3g} are allowed: "
            "it is not rounded to nearest"
        )
        state.share = max(state.share, squares.mean() / expected.spread)
    return Comparison(not state.message, state.figures(), state.message)


class Squares:
    """Sums squared errors in units in the last place of `dtype`.

    A unit is no smaller than what rounding in float32 may cost that element, nor than the smallest
    normal number, below which devices may give zero.
    """

    def __init__(self, dtype: np.dtype) -> None:
        info = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
        self._smallest, self._epsilon = float(info.smallest_normal), float(info.eps)
        self._sum, self._count = 0.0, 0

    def see(
        self, error: np.ndarray, want: np.ndarray, floor: np.ndarray, finite: np.ndarray
    ) -> None:
        """Adds the errors of the values `want` where they are `finite`."""
        finite = finite & np.isfinite(floor)
        size = np.maximum(np.abs(np.where(finite, want, 1.0)), self._smallest)
        unit = np.maximum(np.exp2(np.floor(np.log2(size))) * self._epsilon, self._smallest)
        unit = np.maximum(unit, np.where(finite, floor, 0.0))
        self._sum += float(np.square(np.where(finite, error, 0.0) / unit).sum())
        self._count += int(finite.sum())

    def mean(self) -> float:
        """The root of their mean; 0 where there are too few."""
        return math.sqrt(self._sum / self._count) if self._count >= SPREAD_COUNT else 0.0


def _compare_exact(expected: Expected, got: np.ndarray) -> Comparison:
    state = _Worst()
    for block in blocks(got.shape):
        want, have = expected.oracle[block], got[block]
        wrong = want != have
        if wrong.any():
            # float64 holds differences of integers well enough to say how far off they are
            far = np.abs(want.astype(np.float64) - have.astype(np.float64))
            state.max_abs, state.share = max(state.max_abs, float(far.max())), _LARGEST
            if not state.message:
                inside, index = _first(wrong, block)
                state.message = (
                    f"{expected.label}{list(index)}: expected {want[inside]}, got {have[inside]}; "
                    "the output is exact"
                )
    return Comparison(not state.message, state.figures(), state.message)


def _compare_indices(expected: Expected, output: IndexOutput, got: np.ndarray) -> Comparison:
    want, axis = expected.oracle, output.axis
    extent = output.values.shape[axis]
    inside = (got >= 0) & (got < extent)
    single = want.ndim == output.values.ndim - 1
    safe = np.where(inside, got, 0).astype(np.int64)

    def chosen(indices: np.ndarray) -> np.ndarray:
        wide = np.expand_dims(indices, axis) if single else indices
        taken = np.take_along_axis(output.values, wide, axis)
        return taken.squeeze(axis) if single else taken

    best, have = chosen(want.astype(np.int64)), chosen(safe)
    with np.errstate(invalid="ignore"):  # inf - inf; equal indices are right whatever the value
        off = np.abs(best - have)
    wrong = ~inside | ~((off <= output.budget) | (want == got))
    if not single:
        wrong |= _repeated(got, axis) & ~_repeated(want, axis)
    counted = inside & np.isfinite(off)
    state = _Worst()
    state.see(off[counted], best[counted], np.full(int(counted.sum()), output.budget))
    if wrong.any():
        state.share = _LARGEST
        at = tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))
        value = f"whose value is {have[at]:.9g}" if inside[at] else f"outside [0, {extent})"
        state.message = (
            f"{expected.label}{list(at)}: expected index {want[at]} (value {best[at]:.9g}), "
            f"got {got[at]} {value}; allowed {output.budget:.3g}"
        )
    return Comparison(not state.message, state.figures(), state.message)


def _repeated(indices: np.ndarray, axis: int) -> np.ndarray:
    """Whether an index occurs earlier along `axis`: the best one twice is not the best two."""
    order = np.argsort(indices, axis=axis, kind="stable")
    ordered = np.take_along_axis(indices, order, axis)
    repeats = np.zeros(indices.shape, np.bool_)
    same = np.diff(ordered, axis=axis) == 0
    later = np.take(order, range(1, indices.shape[axis]), axis=axis)
    np.put_along_axis(repeats, later, same, axis)
    return repeats

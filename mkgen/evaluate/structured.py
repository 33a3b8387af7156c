"""Structured inputs: the same shapes with values that a random draw does not give.

A kernel that is right on normal numbers may still leave a normalisation out, lose what is small,
choose another of equal elements, or work for positive values only. Every pattern keeps to what
the task declares: a `normal` input may hold any number, a `uniform` one its own range, `integers`
and `distinct` theirs. Whether a pattern can judge the task at all is asked of the reference
(`Case.unfit`); what cannot is left out with a reason and says nothing of a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from mkgen.evaluate.arrays import is_floating
from mkgen.evaluate.inputs import Inputs, bound, generator
from mkgen.task import Sizes, Task, Tensor, Workload

#: Why a pattern is left out that changes nothing.
NO_INPUT = "it fits no input of the task"
#: Factor of `tiny`, by exponent: far below one, and the square of it is no denormal number.
_TINY = {"float16": -5.0}
_TINY_EXPONENT = -20.0


@dataclass(frozen=True)
class Domain:
    """What one input may hold, both ends included; infinite where the task sets no bound."""

    low: float
    high: float
    middle: float
    """What a normal input is scattered around."""
    spread: float

    def holds(self, values: np.ndarray) -> bool:
        """Whether all of `values` are inside."""
        return bool(((values >= self.low) & (values <= self.high)).all())


def domain(tensor: Tensor, sizes: Sizes) -> Domain:
    """The domain of a floating `tensor` that is not made of integers."""
    scale, shift = float(bound(tensor.scale, sizes)), float(bound(tensor.shift, sizes))
    if tensor.distribution == "normal":
        return Domain(-np.inf, np.inf, shift, abs(scale) or 1.0)
    ends = sorted(float(bound(b, sizes)) * scale + shift for b in (tensor.low, tensor.high))
    return Domain(ends[0], ends[1], (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2)


Floats = Callable[[np.ndarray, Domain, np.random.Generator], np.ndarray]


def _offset(x: np.ndarray, domain: Domain, _: np.random.Generator) -> np.ndarray:
    if np.isinf(domain.high):
        return x * 10 + 5
    return np.asarray(domain.high - (domain.high - x) / 10)  # the upper tenth of its range


def _tiny(x: np.ndarray, domain: Domain, _: np.random.Generator) -> np.ndarray:
    sign = 1.0 if domain.low >= 0 else -1.0
    factor: float = 2.0 ** _TINY.get(x.dtype.name, _TINY_EXPONENT)
    return sign * x * factor


def _ties(x: np.ndarray, domain: Domain, _: np.random.Generator) -> np.ndarray:
    half = domain.spread / 2 if np.isfinite(domain.high) else domain.spread
    return np.rint((x.astype(np.float64) - domain.middle) / half) * half + domain.middle


def _zeros(x: np.ndarray, domain: Domain, random: np.random.Generator) -> np.ndarray:
    zero = np.copysign(0.0, random.random(x.shape) - 0.5)
    return np.where(random.random(x.shape) < 0.5, zero, x)


def _denormals(x: np.ndarray, domain: Domain, random: np.random.Generator) -> np.ndarray:
    sign = 1.0 if domain.low >= 0 else np.copysign(1.0, random.random(x.shape) - 0.5)
    denormal = sign * smallest_normal(x.dtype) * random.random(x.shape)
    return np.where(random.random(x.shape) < 0.3, denormal, _zeros(x, domain, random))


def _negated(x: np.ndarray, domain: Domain, _: np.random.Generator) -> np.ndarray:
    # around zero a draw has both signs already, and the same values would come out of it
    return -x if domain.middle or np.isfinite(domain.high) else x


@dataclass(frozen=True)
class Pattern:
    """One kind of structure."""

    name: str
    title: str
    floats: Floats | None = None
    """Of drawn values, in any floating dtype; what leaves the domain is not used."""
    place: Callable[[int, int, int], int] | None = None
    """For integers: which value all elements get, of (low, high, one that was drawn)."""
    unless: str = ""
    """A pattern that shows this one too, where it can judge the task."""


#: In the order in which they are run: each follows values that another one left at its addresses.
PATTERNS = (
    Pattern("offset", "values far from zero: ten times as large, and 5 more", _offset),
    Pattern("tiny", "values close to zero, the other sign where both are allowed", _tiny),
    Pattern("ties", "few distinct values", _ties),
    Pattern("denormals", "many denormal numbers, and zeros of both signs", _denormals),
    Pattern("zeros", "half of the values are zeros of both signs", _zeros, unless="denormals"),
    Pattern("negated", "the other sign, where a draw has mostly one", _negated),
    Pattern("equal", "integers all the same", place=lambda low, high, drawn: drawn),
    Pattern("first", "integers all the lowest", place=lambda low, high, drawn: low),
    Pattern("last", "integers all the highest", place=lambda low, high, drawn: high - 1),
)
_BY_NAME = {pattern.name: pattern for pattern in PATTERNS}


def smallest_normal(dtype: np.dtype) -> float:
    """The smallest positive number of `dtype` that no device takes for zero."""
    return float(ml_dtypes.finfo(dtype).smallest_normal)  # type: ignore[no-untyped-call]


def flushed(inputs: Inputs) -> Inputs:
    """`inputs` as a device sees them that takes denormal numbers for zero."""
    return {name: _flush(array) for name, array in inputs.items()}


def _flush(array: np.ndarray) -> np.ndarray:
    if not is_floating(array.dtype):
        return array
    small = np.abs(array.astype(np.float64)) < smallest_normal(array.dtype)
    return np.where(small, np.zeros((), array.dtype), array)


def vary(name: str, task: Task, workload: Workload, drawn: Inputs, seed: int) -> Inputs | None:
    """`drawn` with the structure called `name`; None where it fits no input of the task."""
    pattern = _BY_NAME[name]
    varied = dict(drawn)
    for key, tensor in task.inputs.items():
        random = generator(seed, task.name, workload.name, key, name)
        made = _varied(pattern, tensor, drawn[key], workload.sizes, random)
        if made is not None:
            varied[key] = made
    same = all(varied[k].tobytes() == drawn[k].tobytes() for k in drawn)
    return None if same else varied


def _varied(
    pattern: Pattern, tensor: Tensor, drawn: np.ndarray, sizes: Sizes, random: np.random.Generator
) -> np.ndarray | None:
    if not drawn.size:
        return None
    if drawn.dtype == np.bool_ or tensor.distribution in ("integers", "distinct"):
        return _placed(pattern, tensor, drawn, sizes)
    if pattern.floats is None:
        return None
    allowed = domain(tensor, sizes)
    values = pattern.floats(drawn, allowed, random).astype(drawn.dtype)
    return values if allowed.holds(values.astype(np.float64)) else None


def _placed(pattern: Pattern, tensor: Tensor, drawn: np.ndarray, sizes: Sizes) -> np.ndarray | None:
    if pattern.place is None:
        return None
    low, high = (int(bound(b, sizes)) for b in (tensor.low, tensor.high))
    if drawn.dtype == np.bool_:
        low, high = 0, 2
    if tensor.distribution == "distinct":  # none twice: in order from one end instead
        run = np.arange(drawn.size).reshape(drawn.shape)
        first = pattern.place(low, high, int(drawn.flat[0])) == low
        placed = low + run if first else high - 1 - run
        return np.asarray(placed).astype(drawn.dtype)
    value = pattern.place(low, high, int(drawn.flat[0]))
    return np.full(drawn.shape, value).astype(drawn.dtype)


def leaves_range(dtype: np.dtype, own: np.ndarray, *oracles: np.ndarray) -> bool:
    """Whether `own` is not finite elsewhere than one of `oracles` is, rounded to `dtype`."""
    largest = float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
    finite = np.isfinite(own.astype(np.float64))
    return any(not np.array_equal(finite, np.abs(oracle) <= largest) for oracle in oracles)


def hangs_on_rounding(oracle: np.ndarray, own: np.ndarray) -> bool:
    """Whether an exact output is another one in float64 than in the task's dtype."""
    return not np.array_equal(oracle.astype(own.dtype), own)


def thin(task: Task, extent: int) -> Iterator[Workload]:
    """The first check sizes with one axis of `extent`, one after another: last axes first.

    Only sizes that are a whole axis of an input: others are strides, groups, widths of windows.
    """
    if not task.check:
        return
    sizes = task.check[0]
    axes = [
        dimension
        for tensor in task.inputs.values()
        for dimension in reversed(tensor.dimensions())
        if dimension in sizes and sizes[dimension] != extent
    ]
    for axis in dict.fromkeys(axes):
        name = f"{axis.lower()}-{extent}"
        yield Workload(name=name, role="thin", sizes={**sizes, axis: extent})


def smallest(task: Task) -> Workload | None:
    """The check workload with the fewest elements in its inputs; None without check sizes."""

    def elements(workload: Workload) -> int:
        shapes = [t.resolve(workload.sizes) for t in task.inputs.values()]
        return sum(int(np.prod(shape)) for shape in shapes)

    checks = [w for w in task.workloads() if w.role == "check"]
    return min(checks, key=elements, default=None)

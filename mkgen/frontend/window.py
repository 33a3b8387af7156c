"""Pooling: a small reduction over a sliding window, or over the adaptive share of each result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from mkgen.expression import Binary, Call, Expression, Int, Name, product
from mkgen.frontend.context import Context, Operand, apply, cast, constant
from mkgen.frontend.lower import lowers
from mkgen.frontend.sliding import OUT, SPATIAL, Window, loop, spread, taps
from mkgen.ir.nest import Apply, Axis, Bound, IndexValue, Load, Value

#: Above every position in a plane.
_NOWHERE = 2**31 - 1


class _Geometry(Protocol):
    """Which elements each result is made of."""

    @property
    def inputs(self) -> tuple[Expression, ...]:
        """Sizes of the plane."""

    @property
    def out(self) -> tuple[Expression, ...]:
        """Sizes of the result."""

    @property
    def window(self) -> tuple[Expression, ...]:
        """How many elements a result has at most along each dimension."""

    def positions(
        self, at: Sequence[Expression], taps: Sequence[Expression]
    ) -> tuple[Expression, ...]:
        """The element under `taps` of result `at`."""

    def bounds(
        self, at: Sequence[Expression], positions: Sequence[Expression]
    ) -> tuple[Bound, ...]:
        """What must hold for `positions` to count for result `at`, where it can fail."""


@dataclass(frozen=True)
class _Sliding:
    """A window that slides."""

    of: Window

    @property
    def inputs(self) -> tuple[Expression, ...]:
        return self.of.inputs

    @property
    def out(self) -> tuple[Expression, ...]:
        return self.of.out

    @property
    def window(self) -> tuple[Expression, ...]:
        return self.of.window

    def positions(
        self, at: Sequence[Expression], taps: Sequence[Expression]
    ) -> tuple[Expression, ...]:
        return self.of.positions(at, taps)

    def bounds(
        self, at: Sequence[Expression], positions: Sequence[Expression]
    ) -> tuple[Bound, ...]:
        return self.of.bounds(positions)


class _Shares:
    """Adaptive windows: result i of OUT has elements floor(i * IN / OUT) to ceil of the next.

    The loop runs over the largest share there can be; what is beyond a share's end is guarded.
    """

    def __init__(self, context: Context, x: Operand, wanted: Sequence[int | None]) -> None:
        rank = len(wanted)
        self.inputs = x.shape[-rank:]
        self.out = tuple(
            self._size(context, letter, size, count)
            for letter, size, count in zip(OUT[rank], self.inputs, wanted, strict=True)
        )
        self.window = tuple(
            self._largest(context, letter, size, count)
            for letter, size, count in zip(SPATIAL[rank], self.inputs, self.out, strict=True)
        )

    @staticmethod
    def _size(context: Context, letter: str, size: Expression, count: int | None) -> Expression:
        if count is None:
            return size
        return Int(1) if count == 1 else context.derived(letter, Int(count))

    @staticmethod
    def _largest(context: Context, letter: str, size: Expression, count: Expression) -> Expression:
        if count in (Int(1), size):
            return size if count == Int(1) else Int(1)
        even, ragged = size // count, (size + count - 1) // count + 1
        share = Call("select", (Binary("==", size % count, Int(0)), even, ragged))
        return context.derived(f"WINDOW_{letter}", share)

    def start(self, i: int, at: Expression) -> Expression:
        """The first element of share `at` along dimension `i`."""
        if self.out[i] in (Int(1), self.inputs[i]):
            return Int(0) if self.out[i] == Int(1) else at
        return at * self.inputs[i] // self.out[i]

    def end(self, i: int, at: Expression) -> Expression:
        """One after the last element of share `at` along dimension `i`."""
        if self.out[i] in (Int(1), self.inputs[i]):
            return self.inputs[i] if self.out[i] == Int(1) else at + 1
        return ((at + 1) * self.inputs[i] + self.out[i] - 1) // self.out[i]

    def positions(
        self, at: Sequence[Expression], taps: Sequence[Expression]
    ) -> tuple[Expression, ...]:
        return tuple(self.start(i, o) + t for i, (o, t) in enumerate(zip(at, taps, strict=True)))

    def bounds(
        self, at: Sequence[Expression], positions: Sequence[Expression]
    ) -> tuple[Bound, ...]:
        return tuple(
            Bound(position, self.end(i, at[i]))
            for i, position in enumerate(positions)
            if self.out[i] not in (Int(1), self.inputs[i])
        )

    def count(self, at: Sequence[Expression]) -> Expression:
        """How many elements result `at` is made of."""
        return product([self.end(i, o) - self.start(i, o) for i, o in enumerate(at)])


class _Pool:
    """The nests of one pooling of `x` (any leading dimensions) by `geometry`."""

    def __init__(self, context: Context, x: Operand, geometry: _Geometry) -> None:
        self.context, self.x, self.geometry = context, x, geometry
        leading = x.shape[: -len(geometry.out)]
        letters = [*"nc"[-len(leading) :], *(letter.lower() for letter in OUT[len(geometry.out)])]
        made: list[Axis] = []
        for wish, extent in zip(letters, (*leading, *geometry.out), strict=True):
            made.append(loop(context, wish, extent, "parallel", made))
        self.parallel = tuple(made)
        self.reduced, self.tap = taps(context, geometry.window, made)
        self.leading = tuple(Name(a.name) for a in made[: len(leading)])
        self.at = tuple(Name(a.name) for a in made[len(leading) :])
        self.positions = geometry.positions(self.at, self.tap)
        self.guard = geometry.bounds(self.at, self.positions)

    def load(self, other: float) -> Load:
        """The element under the tap; `other` outside."""
        plain = self.x.at(*self.leading, *self.positions)
        return replace(plain, guard=self.guard, other=other if self.guard else None)

    def reduce(self, name: str, value: Value, combine: str) -> Operand:
        """`value` combined over the window."""
        return self.context.emit(name, (*self.parallel, *self.reduced), value, combine, tag="pool")

    def each(self, name: str, value: Value) -> Operand:
        """One value per result."""
        named = replace(value, name=name) if isinstance(value, Apply) else value
        return self.context.emit(name, self.parallel, named)

    def result(self, of: Operand) -> Load:
        """A result of `reduce`, at this place."""
        return of.at(*(Name(a.name) for a in self.parallel))

    def highest(self, name: str) -> Operand:
        """The largest element of every window; NaN is above all numbers."""
        return self.reduce(name, self.load(_lowest(self.x.dtype)), "max")

    def mean(self, name: str, count: Expression) -> Operand:
        """The sum of every window over `count`."""
        total = self.reduce(f"{name}_sum", self.load(0.0), "sum")
        value = self.result(total)
        return self.each(name, apply("div", value, IndexValue(value.dtype, count)))

    def first(self, name: str, best: Operand) -> Operand:
        """Where in its plane the first element like `best` lies; where NaN won, its last one.

        As PyTorch: it goes on to a later element when that is larger, or NaN.
        """
        value, place = self.load(_lowest(self.x.dtype)), self._place()
        nowhere = constant(_NOWHERE, "int32")
        here = apply("where", self._inside(apply("eq", value, self.result(best))), place, nowhere)
        if "float" in value.dtype:  # positions of NaN, below all others and the last one lowest
            behind = apply("sub", constant(-1, "int32"), place)
            here = apply("where", apply("isnan", value), behind, here)
        found = self.result(self.reduce(f"{name}_position", here, "min"))
        again = apply("sub", constant(-1, "int32"), found)
        at = apply("where", apply("lt", found, constant(0, "int32")), again, found)
        return self.each(name, cast(at, "int64"))

    def _place(self) -> Value:
        """The element's position in the flattened plane."""
        total: Expression = Int(0)
        for size, position in zip(self.geometry.inputs, self.positions, strict=True):
            total = total * size + position
        return IndexValue("int32", total)

    def _inside(self, found: Value) -> Value:
        """`found`, where the tap lies in the tensor: padding may look like the best."""
        for bound in self.guard:
            position, extent = (IndexValue("int32", e) for e in (bound.index, bound.extent))
            found = apply("and", found, apply("le", constant(0, "int32"), position))
            found = apply("and", found, apply("lt", position, extent))
        return found


def _lowest(dtype: str) -> float:
    """What every element of `dtype` is at least."""
    if "float" in dtype:
        return -math.inf
    return 0 if dtype in ("bool", "uint8") else -(2 ** (63 if dtype == "int64" else 31) - 1)


def _slide(
    context: Context, x: Operand, rank: int, size: Any, stride: Any, *settings: Any
) -> tuple[_Pool, Window]:
    window = tuple(
        context.derived(f"WINDOW_{letter}", Int(v))
        for letter, v in zip(SPATIAL[rank], spread(size, rank), strict=True)
    )
    slide = Window(context, x, window, stride or size, *settings)
    return _Pool(context, x, _Sliding(slide)), slide


def _max_pool(rank: int, indices: bool) -> None:
    def lowering(
        context: Context,
        name: str,
        x: Operand,
        size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Operand | tuple[Operand, Operand]:
        pool, _ = _slide(context, x, rank, size, stride, padding, dilation, ceil_mode)
        best = pool.highest(name)
        return (best, pool.first(f"{name}_at", best)) if indices else best

    suffix = "_with_indices" if indices else ""
    lowers(f"aten.max_pool{rank}d{suffix}.default")(lowering)


def _avg_pool(rank: int) -> None:
    def lowering(
        context: Context,
        name: str,
        x: Operand,
        size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor: int | None = None,
    ) -> Operand:
        pool, window = _slide(context, x, rank, size, stride, padding, 1, ceil_mode)
        count: Expression
        if divisor:
            count = context.derived("DIVISOR", Int(divisor))
        elif not any(window.guarded) or (count_include_pad and not ceil_mode):
            count = product(list(window.window))
        else:
            return _mean_of_inside(pool, window, name, count_include_pad)
        return pool.mean(name, count)

    lowers(f"aten.avg_pool{rank}d.default")(lowering)


def _mean_of_inside(pool: _Pool, window: Window, name: str, padded: bool) -> Operand:
    """The mean of a window cut off at the tensor, or at its padding when that counts (`padded`)."""
    total = pool.result(pool.reduce(f"{name}_sum", pool.load(0.0), "sum"))
    count: Value | None = None
    for i, at in enumerate(pool.at):
        length = _length(window, i, at, padded)
        count = length if count is None else apply("mul", count, length)
    assert count is not None
    return pool.each(name, apply("div", total, cast(count, total.dtype)))


def _length(window: Window, i: int, at: Expression, padded: bool) -> Value:
    """How many elements of dimension `i` window `at` has."""
    start = window.start(i, at)
    end = IndexValue("int32", start + window.window[i])
    limit = window.inputs[i] + window.pad[i] if padded else window.inputs[i]
    last = apply("minimum", end, IndexValue("int32", limit))
    first: Value = IndexValue("int32", start)
    if not padded:
        first = apply("maximum", first, constant(0, "int32"))
    return apply("sub", last, first)


def _adaptive(rank: int) -> None:
    def mean(context: Context, name: str, x: Operand, size: Any) -> Operand:
        shares = _Shares(context, x, spread(size, rank))
        if all(count == Int(1) for count in shares.out):
            return _whole_mean(context, name, x, rank)
        pool = _Pool(context, x, shares)
        return pool.mean(name, shares.count(pool.at))

    def highest(context: Context, name: str, x: Operand, size: Any) -> tuple[Operand, Operand]:
        pool = _Pool(context, x, _Shares(context, x, spread(size, rank)))
        best = pool.highest(name)
        return best, pool.first(f"{name}_at", best)

    lowers(f"aten.adaptive_avg_pool{rank}d.default")(mean)
    lowers(f"aten.adaptive_max_pool{rank}d.default")(highest)


def _whole_mean(context: Context, name: str, x: Operand, rank: int) -> Operand:
    """The mean of every plane: a reduction over rows, not a window."""
    axes = context.axes(x.shape)
    planes = axes[:-rank]
    inner = tuple(replace(a, kind="reduce") for a in axes[-rank:])
    element = x.at(*(Name(a.name) for a in axes))
    total = context.emit("total", (*planes, *inner), element, "sum", tag="reduce")
    value = total.at(*(Name(a.name) for a in planes))
    count = IndexValue(value.dtype, product([a.extent for a in inner]))
    mean = context.emit(name, planes, Apply(value.dtype, "div", (value, count), name))
    return context.view(mean, (*x.shape[:-rank], *[Int(1)] * rank))


for _rank in (1, 2, 3):
    _max_pool(_rank, indices=False)
    _max_pool(_rank, indices=True)
    _avg_pool(_rank)
    _adaptive(_rank)

"""Resizing and sampling: loads at positions computed from coordinates, and their weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from mkgen.expression import Call, Expression, Int, Name
from mkgen.frontend.context import Context, Operand, apply, cast, constant
from mkgen.frontend.lower import lowers
from mkgen.frontend.sliding import OUT, SPATIAL, axis, loop
from mkgen.ir.nest import Apply, Axis, IndexValue, Indirect, Value

#: PyTorch's coefficient of cubic convolution.
_CUBIC = -0.75


@dataclass(frozen=True)
class _Tap:
    """One element that a result is made of, along one dimension."""

    index: Value
    weight: Value | None = None
    inside: Value | None = None
    """Where this is false the element counts as 0."""


# -- values along one dimension -----------------------------------------------------------------


def _size(dtype: str, expression: Expression) -> Value:
    return IndexValue(dtype, expression)


def _number(value: float, like: Value) -> Value:
    return constant(value, like.dtype)


def _fraction(at: Value, floor: Value, letter: str) -> Value:
    return apply("sub", at, floor, name=f"{letter}_fraction")


def _position(below: Value, offset: int, size: Expression, name: str, lowest: int = 0) -> Value:
    """`below + offset` as an index, the nearest one that there is.

    `below` is an integer from `lowest` on; more than the last position only by rounding.
    """
    at = _plus(below, offset)
    if lowest + offset < 0:
        at = apply("maximum", at, _number(0, at), name=f"{name}_raised" if offset == 0 else name)
    if offset >= 0:
        at = apply("minimum", at, IndexValue(at.dtype, size - 1), name=name)
    return at


def _below(floor: Value, letter: str) -> Value:
    """The position of a coordinate's floor, as an integer."""
    return _called(cast(floor, "int32"), f"{letter}_below")


def _plus(value: Value, number: float) -> Value:
    """`value + number`; a negative number is subtracted, which reads better."""
    if number == 0:
        return value
    return apply("add" if number > 0 else "sub", value, _number(abs(number), value))


def _linear(at: Value, size: Expression, letter: str) -> tuple[_Tap, ...]:
    """The elements below and above a coordinate that is not negative."""
    floor = apply("floor", at, name=f"{letter}_floor")
    below, fraction = _below(floor, letter), _fraction(at, floor, letter)
    return (
        _Tap(_position(below, 0, size, f"{letter}0"), apply("sub", _number(1, at), fraction)),
        _Tap(_position(below, 1, size, f"{letter}1"), fraction),
    )


def _cubic(at: Value, size: Expression, letter: str) -> tuple[_Tap, ...]:
    """The two elements below and the two above a coordinate."""
    floor = apply("floor", at, name=f"{letter}_floor")
    weights = _cubic_weights(_fraction(at, floor, letter), letter)
    below = _below(floor, letter)
    return tuple(
        _Tap(_position(below, i - 1, size, f"{letter}{i}", -1), w) for i, w in enumerate(weights)
    )


def _cubic_weights(t: Value, letter: str) -> Iterator[Value]:
    """Weights of the elements at -1, 0, 1 and 2 from the floor, `t` being the fraction."""
    one = _number(1, t)
    rest = apply("sub", one, t, name=f"{letter}_rest")
    distances = (apply("add", t, one), t, rest, apply("add", rest, one))
    for i, distance in enumerate(distances):
        curve = _far if i in (0, 3) else _near
        yield curve(distance, f"{letter}_w{i}")


def _near(x: Value, name: str) -> Value:
    """Cubic convolution at a distance of at most 1."""
    slope = _plus(apply("mul", _number(_CUBIC + 2, x), x), -(_CUBIC + 3))
    return _called(_plus(apply("mul", apply("mul", slope, x), x), 1), name)


def _far(x: Value, name: str) -> Value:
    """Cubic convolution at a distance of 1 to 2, by Horner's rule."""
    total = _plus(apply("mul", _number(_CUBIC, x), x), -5 * _CUBIC)
    total = _plus(apply("mul", total, x), 8 * _CUBIC)
    return _called(_plus(apply("mul", total, x), -4 * _CUBIC), name)


def _combined(x: Operand, leading: Sequence[Expression], taps: Sequence[Sequence[_Tap]]) -> Value:
    """The weighted sum over every choice of one tap a dimension, last dimension innermost."""

    def at(chosen: tuple[Indirect, ...]) -> Value:
        if len(chosen) == len(taps):
            return x.at(*leading, *chosen)
        total: Value | None = None
        for tap in taps[len(chosen)]:
            term = at((*chosen, Indirect(tap.index)))
            if tap.weight is not None:
                term = apply("mul", tap.weight, term)
            if tap.inside is not None:
                term = apply("where", tap.inside, term, _number(0, term))
            total = term if total is None else apply("add", total, term)
        assert total is not None
        return _called(total, "_".join(("at", *(_name_of(i.value) for i in chosen))))

    return at(())


# -- resizing -----------------------------------------------------------------------------------


def _floating(dtype: str) -> str:
    """The dtype in which coordinates are computed for tensors of `dtype`."""
    return "float64" if dtype == "float64" else "float32"


def _scaled(context: Context, letter: str, size: Expression, factor: float) -> Expression:
    """floor(size * factor), as PyTorch computes it in double precision, for any size.

    `factor` is taken as the decimal it is written as, else as the exact binary number; whichever
    gives what PyTorch gives for every size up to 4096.
    """
    for exact in (Fraction(repr(factor)), Fraction(factor)):
        top, bottom = exact.numerator, exact.denominator
        if all(n * top // bottom == math.floor(n * factor) for n in range(1, 4097)):
            return context.derived(letter, size * top // bottom)
    raise context.unsupported(f"a scale factor of {factor!r}, which rounds differently by size")


@dataclass
class _Resize:
    """One resize of `x`: result sizes, and the source coordinate of each dimension."""

    context: Context
    x: Operand
    rank: int
    out: tuple[Expression, ...]
    scales: tuple[float | None, ...]
    """Scale factors that the user gave, by dimension."""

    def __post_init__(self) -> None:
        self.inputs = self.x.shape[-self.rank :]
        self.dtype = _floating(self.x.dtype)
        letters = (letter.lower() for letter in OUT[self.rank])
        made: list[Axis] = []
        for wish, extent in zip(("n", "c", *letters), (*self.x.shape[:2], *self.out), strict=True):
            made.append(loop(self.context, wish, extent, "parallel", made))
        self.axes = tuple(made)

    def position(self, i: int) -> Value:
        """The result's position along dimension `i`, as a number."""
        return IndexValue(self.dtype, Name(self.axes[2 + i].name))

    def step(self, i: int) -> Value:
        """How far apart neighbours of the result lie in the source."""
        factor = self.scales[i]
        if factor is not None:
            return constant(1.0 / factor, self.dtype)
        return apply("div", _size(self.dtype, self.inputs[i]), _size(self.dtype, self.out[i]))

    def corner_step(self, i: int) -> Value:
        """The same where first and last elements of both lie on each other."""
        letter = SPATIAL[self.rank][i]
        steps = self.context.derived(f"STEPS_{letter}", Call("max", (self.out[i] - 1, Int(1))))
        return apply("div", _size(self.dtype, self.inputs[i] - 1), _size(self.dtype, steps))

    def source(self, i: int, align: bool, clamp: bool) -> Value:
        """The coordinate in the source; `clamp`: not below 0."""
        at, letter = self.position(i), SPATIAL[self.rank][i].lower()
        name = f"{letter}_source"
        if align:
            return apply("mul", self.corner_step(i), at, name=name)
        half = constant(0.5, self.dtype)
        found: Value
        found = apply("sub", apply("mul", self.step(i), apply("add", at, half)), half)
        if not clamp:
            return _called(found, name)
        found = _called(found, f"{letter}_at")
        zero = constant(0, self.dtype)
        return apply("where", apply("lt", found, zero), zero, found, name=name)

    def emit(self, name: str, taps: Sequence[Sequence[_Tap]]) -> Operand:
        """The result: `taps` of every dimension combined."""
        leading = tuple(Name(a.name) for a in self.axes[:2])
        return self.context.emit(name, self.axes, _combined(self.x, leading, taps), tag="resize")


def _resize(
    context: Context,
    x: Operand,
    rank: int,
    size: Sequence[int] | None,
    scales: Sequence[float | None] | None,
) -> _Resize:
    factors = tuple(scales) if scales else (None,) * rank
    inputs = x.shape[-rank:]
    out: tuple[Expression, ...]
    if size is not None:
        for extent, count, factor in zip(inputs, size, factors, strict=True):
            if factor and math.floor(context.extent(extent) * factor) != count:
                # positions would leave the tensor
                raise context.unsupported(f"a resize to {count} elements by a factor of {factor}")
        out = tuple(
            context.derived(letter, Int(n)) for letter, n in zip(OUT[rank], size, strict=True)
        )
    else:
        given = zip(OUT[rank], inputs, factors, strict=True)
        out = tuple(_scaled(context, letter, n, f or 1.0) for letter, n, f in given)
    return _Resize(context, x, rank, out, factors)


def _nearest(resize: _Resize, i: int, exact: bool) -> tuple[_Tap, ...]:
    """The element that a result's start (`exact`: its centre) falls on."""
    letter = SPATIAL[resize.rank][i].lower()
    at = resize.position(i)
    if exact:
        at = apply("add", at, constant(0.5, at.dtype))
    floor = apply("floor", apply("mul", at, resize.step(i)))
    return (_Tap(_position(_below(floor, letter), 0, resize.inputs[i], letter)),)


def _interpolated(
    context: Context, name: str, x: Operand, resize: _Resize, align: bool, cubic: bool
) -> Operand:
    if "float" not in x.dtype:
        raise context.unsupported(f"{name} of {x.dtype}; interpolation is for floating point")
    letters = SPATIAL[resize.rank].lower()
    weigh = _cubic if cubic else _linear
    taps = [
        weigh(resize.source(i, align, clamp=not cubic), resize.inputs[i], letter)
        for i, letter in enumerate(letters)
    ]
    return resize.emit(name, taps)


def _nearest_overloads(op: str, rank: int, exact: bool) -> None:
    def vec(context: Context, name: str, x: Operand, size: Any, scales: Any = None) -> Operand:
        resize = _resize(context, x, rank, size, scales)
        return resize.emit(name, [_nearest(resize, i, exact) for i in range(rank)])

    def default(context: Context, name: str, x: Operand, size: Any, *scales: Any) -> Operand:
        return vec(context, name, x, size, scales)

    lowers(f"aten.{op}.vec")(vec)
    lowers(f"aten.{op}.default")(default)


def _linear_overloads(op: str, rank: int, cubic: bool = False) -> None:
    def vec(
        context: Context, name: str, x: Operand, size: Any, align: bool, scales: Any = None
    ) -> Operand:
        resize = _resize(context, x, rank, size, scales)
        return _interpolated(context, name, x, resize, align, cubic)

    def default(
        context: Context, name: str, x: Operand, size: Any, align: bool, *scales: Any
    ) -> Operand:
        return vec(context, name, x, size, align, scales)

    lowers(f"aten.{op}.vec")(vec)
    lowers(f"aten.{op}.default")(default)


for _rank in (1, 2, 3):
    _nearest_overloads(f"upsample_nearest{_rank}d", _rank, exact=False)
    _nearest_overloads(f"_upsample_nearest_exact{_rank}d", _rank, exact=True)
_linear_overloads("upsample_linear1d", 1)
_linear_overloads("upsample_bilinear2d", 2)
_linear_overloads("upsample_trilinear3d", 3)
_linear_overloads("upsample_bicubic2d", 2, cubic=True)


# -- sampling at coordinates that are read from memory --------------------------------------------


@dataclass(frozen=True)
class _Sampler:
    """How grid_sample finds elements along one dimension of `size`."""

    size: Expression
    letter: str
    padding: int
    """0: zeros, 1: border, 2: reflection."""
    align: bool

    def source(self, coordinate: Value) -> Value:
        """A coordinate in [-1, 1] as a position."""
        dtype, one = coordinate.dtype, _number(1, coordinate)
        extent = self.size - 1 if self.align else self.size
        half = apply("mul", _size(dtype, extent), _number(0.5, coordinate))
        name = f"{self.letter}_source"
        scaled = apply("mul", apply("add", coordinate, one), half)
        if not self.align:
            scaled = apply("sub", scaled, _number(0.5, coordinate))
        return _called(scaled, name)

    def padded(self, at: Value) -> Value:
        """`at` moved into the tensor, if the padding does that."""
        if self.padding == 0:
            return at
        return self._clipped(at if self.padding == 1 else self._reflected(at))

    def _clipped(self, at: Value) -> Value:
        # where, not maximum: NaN becomes 0, an element that there is
        zero, last = _number(0, at), _size(at.dtype, self.size - 1)
        above = apply("where", apply("lt", zero, at), at, zero, name=f"{self.letter}_above")
        name = f"{self.letter}_clipped"
        return apply("where", apply("lt", above, last), above, last, name=name)

    def _reflected(self, at: Value) -> Value:
        """Mirrored at the first and last element (`align`), or at their outer edges."""
        low = _number(0 if self.align else -0.5, at)
        span = _size(at.dtype, self.size - 1 if self.align else self.size)
        if self.align:  # one element: any span will do, the clip that follows leaves 0
            span = apply("maximum", span, _number(1, at))
        period = apply("mul", span, _number(2, at))
        away = apply("abs", apply("sub", at, low), name=f"{self.letter}_away")
        turns = apply("floor", apply("div", away, period))
        left = apply("sub", away, apply("mul", turns, period), name=f"{self.letter}_left")
        return apply("add", apply("minimum", left, apply("sub", period, left)), low)

    def tap(self, at: Value, name: str, weight: Value | None) -> _Tap:
        """The element at a whole position; 0 outside the tensor."""
        zero, end = _number(0, at), _size(at.dtype, self.size)
        inside = apply("and", apply("le", zero, at), apply("lt", at, end), name=f"{name}_inside")
        index = cast(apply("where", inside, at, zero), "int32")
        return _Tap(_called(index, name), weight, inside)

    def nearest(self, coordinate: Value) -> tuple[_Tap, ...]:
        """The nearest element, halves to even."""
        at = self.padded(self.source(coordinate))
        rounded = apply("round", at, name=f"{self.letter}_nearest")
        return (self.tap(rounded, self.letter, None),)

    def linear(self, coordinate: Value) -> tuple[_Tap, ...]:
        """The elements below and above."""
        at = self.padded(self.source(coordinate))
        floor = apply("floor", at, name=f"{self.letter}_floor")
        above, one = _fraction(at, floor, self.letter), _number(1, at)
        next_one = apply("add", floor, one, name=f"{self.letter}_next")
        return (
            self.tap(floor, f"{self.letter}0", apply("sub", one, above)),
            self.tap(next_one, f"{self.letter}1", above),
        )

    def cubic(self, coordinate: Value) -> tuple[_Tap, ...]:
        """Two elements below and two above; each of them is padded by itself."""
        at = self.source(coordinate)
        floor = apply("floor", at, name=f"{self.letter}_floor")
        weights = _cubic_weights(_fraction(at, floor, self.letter), self.letter)
        taps = []
        for i, weight in enumerate(weights):
            name = f"{self.letter}{i}"
            whole = self.padded(apply("add", floor, _number(i - 1, at), name=f"{name}_at"))
            taps.append(self.tap(whole, name, weight))
        return tuple(taps)


def _name_of(value: Value) -> str:
    return value.name if isinstance(value, Apply) else ""


def _called(value: Value, name: str) -> Value:
    return replace(value, name=name) if isinstance(value, Apply) else value


_MODES: tuple[Callable[[_Sampler, Value], tuple[_Tap, ...]], ...] = (
    _Sampler.linear, _Sampler.nearest, _Sampler.cubic,
)  # fmt: skip


@lowers("aten.grid_sampler.default", "aten.grid_sampler_2d.default", "aten.grid_sampler_3d.default")
def _grid_sampler(
    context: Context, name: str, x: Operand, grid: Operand, mode: int, padding: int, align: bool
) -> Operand:
    """x[N, C, *spatial] at grid[N, *out, rank], whose last dimension lists the fastest first."""
    rank = len(x.shape) - 2
    letters = (letter.lower() for letter in OUT[rank])
    made: list[Axis] = []
    for wish, extent in zip(("n", "c", *letters), (*x.shape[:2], *grid.shape[1:-1]), strict=True):
        made.append(_sample_axis(context, wish, extent, made))
    n, c, *at = (Name(a.name) for a in made)
    taps = []
    for i, size in enumerate(x.shape[2:]):
        sampler = _Sampler(size, SPATIAL[rank][i].lower(), padding, align)
        coordinate = grid.at(n, *at, Int(rank - 1 - i))
        taps.append(_MODES[mode](sampler, coordinate))
    return context.emit(name, made, _combined(x, (n, c), taps), tag="resize")


def _sample_axis(context: Context, wish: str, extent: Expression, others: Sequence[Axis]) -> Axis:
    # sizes of the grid may be called like those of the tensor; the loops are p and q either way
    if wish in "nc":
        return loop(context, wish, extent, "parallel", others)
    return axis(context, wish, extent, "parallel", others)


@lowers("aten.affine_grid_generator.default")
def _affine_grid(
    context: Context, name: str, theta: Operand, size: Sequence[int], align: bool
) -> Operand:
    """grid[N, *out, rank] = theta[N, rank, rank + 1] applied to positions in [-1, 1]."""
    rank = len(size) - 2
    out = tuple(
        context.derived(letter, Int(n)) for letter, n in zip(OUT[rank], size[2:], strict=True)
    )
    shape = (theta.shape[0], *out, Int(rank))
    axes = context.axes(shape)
    n, *at, which = (Name(a.name) for a in axes)
    columns = [theta.at(n, which, Int(i)) for i in range(rank + 1)]
    total: Value | None = None
    for i, place in enumerate(reversed(at)):
        position = _unit_position(columns[i].dtype, place, out[rank - 1 - i], align, context)
        term = apply("mul", position, columns[i])
        total = term if total is None else apply("add", total, term)
    assert total is not None
    return context.emit(name, axes, apply("add", total, columns[rank], name=name))


def _unit_position(
    dtype: str, at: Expression, count: Expression, align: bool, context: Context
) -> Value:
    """Position `at` of `count` in [-1, 1]: of its centre, or with both ends on -1 and 1."""
    numerator = IndexValue(dtype, 2 * at - (count - 1))
    if not align:
        return apply("div", numerator, IndexValue(dtype, count))
    steps = context.derived("STEPS", Call("max", (count - 1, Int(1))))
    return apply("div", numerator, IndexValue(dtype, steps))

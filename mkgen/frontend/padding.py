"""Padding: loads at shifted positions, those outside guarded, reflected, clamped or wrapped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mkgen.expression import Expression, Int, Name
from mkgen.frontend.context import Context, Operand, apply, constant
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import Bound, IndexValue, Indirect, Value


@dataclass(frozen=True)
class _Sides:
    """The padding of one dimension: `low` elements before, `high` after; negative ones crop."""

    low: Expression
    high: Expression

    @property
    def some(self) -> bool:
        """Whether a position can lie outside the tensor."""
        return any(not isinstance(e, Int) for e in (self.low, self.high))


def _sides(context: Context, rank: int, pad: Sequence[int]) -> tuple[_Sides, ...]:
    """Per dimension of the tensor; PyTorch lists the last dimension first."""
    found = [_Sides(Int(0), Int(0))] * rank
    for i in range(len(pad) // 2):
        position, (low, high) = rank - 1 - i, pad[2 * i : 2 * i + 2]
        if low == high == 0:
            continue
        found[position] = _Sides(
            _size(context, f"BEFORE_{position}", low), _size(context, f"AFTER_{position}", high)
        )
    return tuple(found)


def _size(context: Context, wish: str, value: int) -> Expression:
    return Int(0) if value == 0 else context.derived(wish, Int(value))


def _padded(
    context: Context, x: Operand, pad: Sequence[int]
) -> tuple[tuple[Expression, ...], tuple[_Sides, ...]]:
    sides = _sides(context, len(x.shape), pad)
    shape = tuple(
        context.derived(f"PADDED_{i}", size + side.low + side.high) if side.some else size
        for i, (size, side) in enumerate(zip(x.shape, sides, strict=True))
    )
    return shape, sides


def _constant(
    context: Context, name: str, x: Operand, pad: Sequence[int], value: float | None = 0
) -> Operand:
    """`value` outside, 0 by default."""
    shape, sides = _padded(context, x, pad)
    axes = context.axes(shape)
    index, guard = [], []
    for axis, size, side in zip(axes, x.shape, sides, strict=True):
        index.append(Name(axis.name) - side.low)
        if side.some:
            guard.append(Bound(index[-1], size))
    load = replace(x.at(*index), guard=tuple(guard), other=(value or 0) if guard else None)
    return context.emit(name, axes, load)


def _fold(
    context: Context,
    name: str,
    x: Operand,
    pad: Sequence[int],
    fold: Callable[[Expression, Expression], Expression],
) -> Operand:
    """Every element of the result read at `fold(position, size)`, a position of `x`."""
    shape, sides = _padded(context, x, pad)
    axes = context.axes(shape)
    index = [
        fold(Name(axis.name) - side.low, size) if side.some else Name(axis.name)
        for axis, size, side in zip(axes, x.shape, sides, strict=True)
    ]
    return context.emit(name, axes, x.at(*index))


def _integer(expression: Expression) -> Value:
    return IndexValue("int32", expression)


def _reflected(position: Expression, size: Expression) -> Expression:
    """Mirrored at the first and last element, which are not repeated."""
    at = _integer(position)
    below = apply("lt", at, constant(0, "int32"))
    up = apply("where", below, _integer(0 - position), at)
    over = apply("lt", _integer(size - 1), at)
    back = _integer(2 * (size - 1) - position)
    return Indirect(apply("where", over, back, up, name="mirrored"))


def _clamped(position: Expression, size: Expression) -> Expression:
    """The nearest element of the tensor."""
    at = apply("maximum", _integer(position), constant(0, "int32"))
    return Indirect(apply("minimum", at, _integer(size - 1), name="nearest"))


def _wrapped(position: Expression, size: Expression) -> Expression:
    """As if the tensor was repeated; padding is at most one whole tensor."""
    return (position + size) % size


_FOLDS = {"reflect": _reflected, "replicate": _clamped, "circular": _wrapped}


lowers("aten.constant_pad_nd.default")(_constant)


@lowers("aten.pad.default")
def _pad(
    context: Context,
    name: str,
    x: Operand,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> Operand:
    """F.pad in any of its modes."""
    if mode == "constant":
        return _constant(context, name, x, pad, value)
    return _fold(context, name, x, pad, _FOLDS[mode])


def _direct(overload: str, fold: Callable[[Expression, Expression], Expression]) -> None:
    def lowering(context: Context, name: str, x: Operand, pad: Sequence[int]) -> Operand:
        return _fold(context, name, x, pad, fold)

    lowers(overload)(lowering)


for _rank in (1, 2, 3):
    _direct(f"aten.reflection_pad{_rank}d.default", _reflected)
    _direct(f"aten.replication_pad{_rank}d.default", _clamped)

"""Scans: running combines along one axis, inclusive."""

from __future__ import annotations

from typing import Any

from mkgen.expression import Name
from mkgen.frontend.context import Context, Operand, apply, cast, constant
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import Axis, IndexValue, Value


def running(
    context: Context, wish: str, axes: tuple[Axis, ...], dim: int, combine: str, value: Value
) -> Operand:
    """`value` over `axes` combined with all before it along dimension `dim`."""
    along = tuple(Axis(a.name, a.extent, "scan") if i == dim else a for i, a in enumerate(axes))
    return context.emit(wish, along, value, combine, tag="scan")


def _cumulative(combine: str) -> Any:
    def lowering(
        context: Context, name: str, x: Operand, dim: int, *, dtype: Any = None
    ) -> Operand:
        if not x.shape:
            return context.pointwise(name, lambda v: v, x)
        axes = context.axes(x.shape)
        value: Value = x.at(*(Name(a.name) for a in axes))
        if "float" not in value.dtype:  # PyTorch counts integers in int64
            value = cast(value, "int64" if dtype is None else str(dtype).removeprefix("torch."))
        return running(context, name, axes, dim % len(axes), combine, value)

    return lowering


lowers("aten.cumsum.default")(_cumulative("sum"))
lowers("aten.cumprod.default")(_cumulative("prod"))


def _running_extreme(combine: str) -> Any:
    def lowering(context: Context, name: str, x: Operand, dim: int) -> tuple[Operand, Operand]:
        """The running extreme and where it was last met: the largest position that equals it."""
        axes = context.axes(x.shape)
        index = tuple(Name(a.name) for a in axes)
        dim %= len(axes)
        value = x.at(*index)
        best = running(context, name, axes, dim, combine, value)
        here = apply("eq", value, best.at(*index))
        if "float" in value.dtype:  # NaN is the extreme from where it is met on
            here = apply("or", here, apply("isnan", value))
        position = IndexValue("int32", index[dim])
        met = apply("where", here, position, constant(0, "int32"))
        last = running(context, "last_met", axes, dim, "max", met)
        return best, context.emit("indices", axes, cast(last.at(*index), "int64"))

    return lowering


lowers("aten.cummax.default")(_running_extreme("max"))
lowers("aten.cummin.default")(_running_extreme("min"))

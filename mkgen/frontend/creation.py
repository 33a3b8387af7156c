"""Tensors of known values: zeros, ranges, an identity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mkgen.expression import Expression, Int, Name, ceil_div
from mkgen.frontend.context import Context, Operand, apply, constant
from mkgen.frontend.layout import place_of, tidied
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import IndexValue


def _dtype(dtype: Any, default: str) -> str:
    """The dtype in which values of `dtype` are computed."""
    name = default if dtype is None else str(dtype).removeprefix("torch.")
    return "float32" if name in ("float16", "bfloat16") else name


def _filled(
    context: Context, name: str, shape: Sequence[Expression], number: Any, dtype: str
) -> Operand:
    return context.emit(name, context.axes(shape), constant(number, dtype))


def _shape(context: Context, sizes: Sequence[int], *path: int | str) -> list[Expression]:
    return [context.literal(*path, i) for i in range(len(sizes))]


@lowers("aten.zeros.default", "aten.empty.memory_format", "aten.ones.default")
def _zeros(
    context: Context, name: str, sizes: Sequence[int], *, dtype: Any = None, **_: Any
) -> Operand:
    """Zeros or ones; what is empty is written before it is read, so zeros do."""
    number = 1 if "ones" in name else 0
    return _filled(context, name, _shape(context, sizes, 0), number, _dtype(dtype, "float32"))


@lowers("aten.full.default")
def _full(
    context: Context, name: str, sizes: Sequence[int], number: Any, *, dtype: Any = None, **_: Any
) -> Operand:
    default = {bool: "bool", int: "int64"}.get(type(number), "float32")
    return _filled(context, name, _shape(context, sizes, 0), number, _dtype(dtype, default))


@lowers("aten.scalar_tensor.default")
def _scalar(context: Context, name: str, number: Any, *, dtype: Any = None, **_: Any) -> Operand:
    return _filled(context, name, (), number, _dtype(dtype, "float32"))


@lowers(
    "aten.zeros_like.default", "aten.ones_like.default", "aten.full_like.default",
    "aten.empty_like.default",
)  # fmt: skip
def _filled_like(
    context: Context, name: str, x: Operand, number: Any = None, *, dtype: Any = None, **_: Any
) -> Operand:
    if number is None:
        number = 1 if "ones" in name else 0
    return _filled(context, name, x.shape, number, _dtype(dtype, x.dtype))


@lowers("aten.new_zeros.default", "aten.new_ones.default", "aten.new_full.default")
def _new_filled(
    context: Context,
    name: str,
    x: Operand,
    sizes: Sequence[int],
    number: Any = None,
    *,
    dtype: Any = None,
    **_: Any,
) -> Operand:
    if number is None:
        number = 1 if "ones" in name else 0
    return _filled(context, name, _shape(context, sizes, 1), number, _dtype(dtype, x.dtype))


@lowers("aten.arange.default", "aten.arange.start", "aten.arange.start_step")
def _arange(
    context: Context, name: str, *bounds: int | float, dtype: Any = None, **_: Any
) -> Operand:
    """Positions from the start on, a step apart."""
    whole = all(isinstance(b, int) for b in bounds)
    kind = _dtype(dtype, "int64" if whole else "float32")
    if not whole:
        return _float_range(context, name, bounds, kind)
    start: Expression = Int(0) if len(bounds) == 1 else context.literal(0)
    end = context.literal(0 if len(bounds) == 1 else 1)
    step: Expression = context.literal(2) if len(bounds) > 2 else Int(1)
    extent = end - start if step == Int(1) else ceil_div(end - start, step)
    (axis,) = context.axes((tidied(context, extent, "RANGE"),))
    return context.emit(name, (axis,), IndexValue(kind, start + Name(axis.name) * step))


def _float_range(context: Context, name: str, bounds: Sequence[int | float], dtype: str) -> Operand:
    start, end, step = _float_bounds(bounds)
    (axis,) = context.axes((Int(math.ceil((end - start) / step)),))
    scaled = apply("mul", IndexValue(dtype, Name(axis.name)), constant(step, dtype))
    value = apply("add", constant(start, dtype), scaled, name=name)
    return context.emit(name, (axis,), value)


def _float_bounds(bounds: Sequence[int | float]) -> tuple[float, float, float]:
    start, end = (0.0, bounds[0]) if len(bounds) == 1 else bounds[:2]
    return start, end, bounds[2] if len(bounds) > 2 else 1.0


@lowers("aten.eye.default", "aten.eye.m")
def _eye(
    context: Context, name: str, rows: int, cols: int | None = None, *, dtype: Any = None, **_: Any
) -> Operand:
    height = context.literal(0)
    width = context.literal(1) if cols is not None else height
    axes = context.axes((height, width))
    here = apply("eq", place_of(axes[0]), place_of(axes[1]))
    kind = _dtype(dtype, "float32")
    one, zero = constant(1, kind), constant(0, kind)
    return context.emit(name, axes, apply("where", here, one, zero, name=name))

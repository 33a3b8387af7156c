"""Pooling: a small reduction over a sliding window."""

from __future__ import annotations

import math
from typing import Any

from mkgen.expression import Expression, Int, Name
from mkgen.frontend.context import Context, Operand, apply, constant
from mkgen.frontend.contraction import _SPATIAL, Window, _spread
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import Axis, Load


def _pool(
    context: Context, x: Operand, size: Any, stride: Any, padding: Any, dilation: Any, other: float
) -> tuple[tuple[Axis, ...], Load, tuple[Expression, ...]]:
    rank = len(x.shape) - 2
    window = tuple(
        context.derived(f"WINDOW_{letter}", Int(v))
        for letter, v in zip(_SPATIAL[rank], _spread(size, rank), strict=True)
    )
    slide = Window(context, x, window, stride or size, padding, dilation, rank)
    axes = context.axes((*x.shape[:2], *slide.out))
    taps = tuple(
        Axis(letter, extent, "reduce") for letter, extent in zip("rst", window, strict=False)
    )
    load = slide.load(x, (Name(axes[0].name), Name(axes[1].name)), axes[2:], taps, other)
    return (*axes, *taps), load, window


@lowers("aten.max_pool1d.default", "aten.max_pool2d.default", "aten.max_pool3d.default")
def _max_pool(
    context: Context,
    name: str,
    x: Operand,
    size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Operand:
    if ceil_mode:
        raise context.unsupported(f"{name} with ceil_mode=True")
    axes, load, _ = _pool(context, x, size, stride, padding, dilation, -math.inf)
    return context.emit(name, axes, load, "max", tag="pool")


@lowers("aten.avg_pool1d.default", "aten.avg_pool2d.default", "aten.avg_pool3d.default")
def _avg_pool(
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
    if ceil_mode or (padding not in (0, [0], [0, 0], [0, 0, 0]) and not count_include_pad):
        raise context.unsupported(f"{name} with ceil_mode or count_include_pad=False")
    axes, load, window = _pool(context, x, size, stride, padding, 1, 0.0)
    total = context.emit(f"{name}_sum", axes, load, "sum", tag="pool")
    count = divisor or math.prod(context.extent(w) for w in window)
    return context.pointwise(
        name, lambda v: apply("div", v, constant(count, x.dtype), name=name), total
    )

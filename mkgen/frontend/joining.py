"""Wholes made of parts: concatenation, and a tensor with a part of it replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mkgen.expression import Expression, Int, Name
from mkgen.frontend.context import Context, Operand, apply, cast, constant, promote, rooted
from mkgen.frontend.layout import at_dimension, position, resized, within
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import Bound, IndexValue, Load, Value


@lowers("aten.cat.default")
def _cat(context: Context, name: str, tensors: Sequence[Operand], dim: int = 0) -> Operand:
    tensors = [t for t in tensors if len(t.shape) > 1 or context.extent(t.shape[0])]
    at = dim % len(tensors[0].shape)
    ends: list[Expression] = []
    extent: Expression = Int(0)
    for tensor in tensors:
        extent = extent + tensor.shape[at]
        ends.append(extent)
    if all(d == tensors[0].shape[at] for d in (t.shape[at] for t in tensors)):
        extent = Int(len(tensors)) * tensors[0].shape[at]
    axes = context.axes(resized(tensors[0], at, extent))
    index = tuple(Name(a.name) for a in axes)
    dtype = _promoted(tensors)
    value: Value | None = None
    for tensor, end in reversed(list(zip(tensors, ends, strict=True))):
        place = index[at] - _start(ends, end)
        load = _guarded(tensor.at(*at_dimension(index, at, place)), place, tensor.shape[at])
        here = cast(load, dtype) if load.dtype != dtype else load
        before = apply("lt", IndexValue("int32", index[at]), IndexValue("int32", end))
        value = here if value is None else apply("where", before, here, value)
    assert value is not None
    return context.emit(name, axes, rooted(value, name))


def _start(ends: Sequence[Expression], end: Expression) -> Expression:
    at = ends.index(end)
    return ends[at - 1] if at else Int(0)


def _guarded(load: Load, place: Expression, extent: Expression, other: float = 0.0) -> Load:
    return replace(load, guard=(*load.guard, Bound(place, extent)), other=other)


def _promoted(tensors: Sequence[Operand]) -> str:
    loads = [t.at(*(Int(0) for _ in t.shape)) for t in tensors]
    return promote([load.dtype for load in loads])


@lowers("aten.stack.default")
def _stack(context: Context, name: str, tensors: Sequence[Operand], dim: int = 0) -> Operand:
    at = dim % (len(tensors[0].shape) + 1)
    shape = (*tensors[0].shape[:at], Int(len(tensors)), *tensors[0].shape[at:])
    axes = context.axes(shape)
    index = tuple(Name(a.name) for a in axes)
    rest = (*index[:at], *index[at + 1 :])
    dtype = _promoted(tensors)
    value: Value | None = None
    for i, tensor in reversed(list(enumerate(tensors))):
        here = cast(tensor.at(*rest), dtype)
        chosen = apply("eq", IndexValue("int32", index[at]), constant(i, "int32"))
        value = here if value is None else apply("where", chosen, here, value)
    assert value is not None
    return context.emit(name, axes, rooted(value, name))


@lowers("aten.slice_scatter.default")
def _slice_scatter(
    context: Context,
    name: str,
    x: Operand,
    source: Operand,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Operand:
    """`x` with `x[start:end:step]` along `dim` replaced by `source`."""
    at = dim % len(x.shape)
    length = x.shape[at]
    first = Int(0) if start in (None, 0) else position(context, x, at, 3)
    stride = context.literal(5) if step != 1 else Int(1)
    first = within(context, first, length)
    axes = context.axes(x.shape)
    index = tuple(Name(a.name) for a in axes)
    count = source.shape[at]
    offset = index[at] - first
    place = offset if stride == Int(1) else offset // stride
    inside = apply("le", IndexValue("int32", first), IndexValue("int32", index[at]))
    stop = IndexValue("int32", first + count * stride)
    inside = apply("and", inside, apply("lt", IndexValue("int32", index[at]), stop))
    # `offset` may be negative where it is not inside: the guard keeps such a place from memory
    load = replace(
        source.at(*at_dimension(index, at, place)),
        guard=(Bound(offset, count * stride),),
        other=0.0,
    )
    if stride != Int(1):
        onto = IndexValue("int32", (offset + length * stride) % stride)
        inside = apply("and", inside, apply("eq", onto, constant(0, "int32")))
    value = apply("where", inside, load, x.at(*index), name=name)
    return context.emit(name, axes, value)


@lowers("aten.select_scatter.default")
def _select_scatter(
    context: Context, name: str, x: Operand, source: Operand, dim: int, index: int
) -> Operand:
    """`x` with the place `index` of `dim` replaced by `source`."""
    at = dim % len(x.shape)
    place = position(context, x, at, 3)
    axes = context.axes(x.shape)
    names = tuple(Name(a.name) for a in axes)
    here = apply("eq", IndexValue("int32", names[at]), IndexValue("int32", place))
    new = source.at(*names[:at], *names[at + 1 :])
    return context.emit(name, axes, apply("where", here, new, x.at(*names), name=name))


@lowers("aten.copy.default", "aten.copy_.default")
def _copy(context: Context, name: str, x: Operand, source: Operand, *_: Any) -> Operand:
    axes = context.axes(x.shape)
    wanted = x.at(*(Int(0) for _ in x.shape)).dtype
    return context.emit(name, axes, cast(context.read(source, axes), wanted))

"""Attention: scores, their softmax and the weighted values, as nests of products and rows."""

from __future__ import annotations

import math

from mkgen.expression import Expression, Int, Name
from mkgen.frontend.context import Context, Operand, apply, constant
from mkgen.frontend.contraction import sum_of_products
from mkgen.frontend.lower import lowers
from mkgen.frontend.reduction import Rows
from mkgen.ir.nest import IndexValue, Value


@lowers("aten.scaled_dot_product_attention.default")
def _attention(
    context: Context,
    name: str,
    query: Operand,
    key: Operand,
    value: Operand,
    mask: Operand | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Operand:
    """softmax(query @ key.T * scale + mask) @ value, in float32 whatever the operands are.

    A boolean mask keeps where it is true; causal keeps columns up to the row's own. A row that
    keeps nothing gives zeros, as PyTorch does.
    """
    if dropout:
        raise context.unsupported(f"{name} with dropout_p={dropout}; attention of evaluation only")
    scores = _scores(context, query, key, enable_gqa, scale)
    weights = _weights(context, _masked(context, scores, mask, causal), mask is not None)
    batch = context.broadcast([query.shape[:-2], value.shape[:-2]])
    if enable_gqa:
        batch = query.shape[:-2]
    axes = context.axes((*batch, query.shape[-2], value.shape[-1]))
    (depth,) = context.axes((value.shape[-2],), "reduce", axes)
    place = tuple(Name(a.name) for a in axes)
    left = weights.at(*place[:-1], Name(depth.name))
    index = _leading(context, value, place[:-2], batch, enable_gqa)
    right = value.at(*index, Name(depth.name), place[-1])
    return sum_of_products(context, name, (*axes, depth), left, right)


def _leading(
    context: Context,
    operand: Operand,
    place: tuple[Name, ...],
    batch: tuple[Expression, ...],
    grouped: bool,
) -> list[Expression]:
    """Where the batch dimensions of `operand` are read; several heads may share one of its own."""
    own = operand.shape[:-2]
    missing = len(batch) - len(own)
    index: list[Expression] = []
    for at, (dimension, name) in enumerate(zip(own, place[missing:], strict=True)):
        wide = batch[missing + at]
        if context.extent(dimension) == 1 != context.extent(wide):
            index.append(Int(0))
        elif grouped and at == len(own) - 1 and dimension != wide:
            index.append(name // (wide // dimension))
        else:
            index.append(name)
    return index


def _scores(
    context: Context, query: Operand, key: Operand, grouped: bool, scale: float | None
) -> Operand:
    """query @ key.T * scale."""
    batch = context.broadcast([query.shape[:-2], key.shape[:-2]])
    if grouped:
        batch = query.shape[:-2]
    axes = context.axes((*batch, query.shape[-2], key.shape[-2]))
    (depth,) = context.axes((query.shape[-1],), "reduce", axes)
    place = tuple(Name(a.name) for a in axes)
    left_index = _leading(context, query, place[:-2], batch, False)
    left = query.at(*left_index, place[-2], Name(depth.name))
    right_index = _leading(context, key, place[:-2], batch, grouped)
    right = key.at(*right_index, place[-1], Name(depth.name))
    product = sum_of_products(context, "scores", (*axes, depth), left, right)
    total = product.at(*place)
    return context.emit("scaled", axes, apply("mul", total, _factor(query, scale), name="scaled"))


def _factor(query: Operand, scale: float | None) -> Value:
    """The scale, 1 / sqrt(depth) where none is given."""
    if scale is not None:
        return constant(scale, "float32")
    depth = query.shape[-1]
    if isinstance(depth, Int):
        return constant(1 / math.sqrt(depth.value), "float32")
    return apply("rsqrt", IndexValue("float32", depth))


def _masked(context: Context, scores: Operand, mask: Operand | None, causal: bool) -> Operand:
    """Scores with those that may not be looked at at minus infinity."""
    axes = context.axes(scores.shape)
    place = tuple(Name(a.name) for a in axes)
    value: Value = scores.at(*place)
    lowest = constant(-math.inf, value.dtype)
    if causal:
        col, row = IndexValue("int32", place[-1]), IndexValue("int32", place[-2])
        value = apply("where", apply("le", col, row), value, lowest, name="masked")
    if mask is not None:
        given = context.read(mask, axes)
        if mask.dtype == "bool":
            value = apply("where", given, value, lowest, name="masked")
        else:
            value = apply("add", value, given, name="masked")
    return scores if not causal and mask is None else context.emit("masked", axes, value)


def _weights(context: Context, scores: Operand, may_be_empty: bool) -> Operand:
    """The softmax of every row; rows of minus infinity alone give zeros where there may be any."""
    rows = Rows(context, scores, (-1,))
    highest = rows.reduce("highest", "max", rows.element())
    shifted = apply("sub", rows.element(), rows.row(highest))
    weight = rows.each("weight", apply("exp", shifted))
    total = rows.reduce("total", "sum", rows.element(weight))
    share: Value = apply("div", rows.element(weight), rows.row(total))
    if may_be_empty:
        empty = apply("eq", rows.row(highest), constant(-math.inf, "float32"))
        share = apply("where", empty, constant(0, "float32"), share)
    return rows.each("weights", share)

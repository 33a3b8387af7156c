"""Normalisations: softmax and what divides by a spread; batch norm updates its running state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mkgen.expression import Int
from mkgen.frontend.context import Context, Operand, apply, constant
from mkgen.frontend.lower import lowers
from mkgen.frontend.reduction import Rows, keep, vector_norm
from mkgen.ir.nest import Value


@lowers("aten.softmax.int", "aten._softmax.default")
def _softmax(context: Context, name: str, x: Operand, dim: int, *_: Any) -> Operand:
    rows = Rows(context, x, dim)
    highest = rows.reduce("highest", "max", rows.element())
    shifted = apply("sub", rows.element(), rows.row(highest))
    weight = rows.each("weight", apply("exp", shifted))
    total = rows.reduce("total", "sum", rows.element(weight))
    return rows.each(name, apply("div", rows.element(weight), rows.row(total)))


@lowers("aten.log_softmax.int", "aten._log_softmax.default")
def _log_softmax(context: Context, name: str, x: Operand, dim: int, *_: Any) -> Operand:
    return log_softmax(Rows(context, x, dim), name)


def log_softmax(rows: Rows, name: str) -> Operand:
    """x less the logarithm of the sum of exp(x), along the reduced axes."""
    highest = rows.reduce("highest", "max", rows.element())
    shifted = rows.each("shifted", apply("sub", rows.element(), rows.row(highest)))
    total = rows.reduce("total", "sum", apply("exp", rows.element(shifted)))
    log = rows.per_row("log_total", apply("log", rows.row(total)))
    return rows.each(name, apply("sub", rows.element(shifted), rows.row(log)))


def _affine(value: Value, weight: Value | None, bias: Value | None) -> Value:
    value = value if weight is None else apply("mul", value, weight)
    return value if bias is None else apply("add", value, bias)


def _inverse_deviation(rows: Rows, variance: Value, eps: float) -> Operand:
    wide = apply("add", variance, constant(eps, variance.dtype))
    return rows.per_row("inverse_deviation", apply("rsqrt", wide))


def _standardized(rows: Rows, eps: float) -> tuple[Operand, Operand, Value]:
    """The means, the sums of squares, and each element less its mean over its row's deviation."""
    mean, centered, squares = rows.centered_squares()
    total = rows.row(squares)
    scale = _inverse_deviation(rows, apply("div", total, rows.size(total.dtype)), eps)
    return mean, squares, apply("mul", rows.element(centered), rows.row(scale))


@lowers("aten.layer_norm.default")
def _layer_norm(
    context: Context,
    name: str,
    x: Operand,
    normalized: Sequence[int],
    weight: Operand | None = None,
    bias: Operand | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Operand:
    rank = len(x.shape)
    rows = Rows(context, x, range(rank - len(normalized), rank))
    scale, shift = (None if o is None else context.read(o, rows.parallel) for o in (weight, bias))
    return rows.each(name, _affine(_standardized(rows, eps)[2], scale, shift))


@lowers("aten.rms_norm.default")
def _rms_norm(
    context: Context,
    name: str,
    x: Operand,
    normalized: Sequence[int],
    weight: Operand | None = None,
    eps: float | None = None,
) -> Operand:
    """x over the root of the mean of its squares."""
    import torch

    if eps is None:
        eps = torch.finfo(getattr(torch, x.dtype)).eps
    rank = len(x.shape)
    rows = Rows(context, x, range(rank - len(normalized), rank))
    square = apply("mul", rows.element(), rows.element())
    total = rows.row(rows.reduce("total", "sum", square))
    wide = apply("add", apply("div", total, rows.size(total.dtype)), constant(eps, total.dtype))
    scale = rows.per_row("inverse_root", apply("rsqrt", wide))
    value = apply("mul", rows.element(), rows.row(scale))
    return rows.each(
        name, _affine(value, None if weight is None else context.read(weight, rows.parallel), None)
    )


@lowers("aten.group_norm.default")
def _group_norm(
    context: Context,
    name: str,
    x: Operand,
    groups: int,
    weight: Operand | None = None,
    bias: Operand | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Operand:
    """Layer norm over the channels of a group and all positions: x seen as (N, GROUPS, PART, …)."""
    count = context.derived("GROUPS", Int(groups))
    part = context.derived("GROUP_SIZE", x.shape[1] // count)
    seen = context.view(x, (x.shape[0], count, part, *x.shape[2:]))
    rows = Rows(context, seen, range(2, len(seen.shape)))
    of_channel = [
        None if o is None else context.view(o, (count, part)).at(*rows.index[1:3])
        for o in (weight, bias)
    ]
    result = rows.each(name, _affine(_standardized(rows, eps)[2], *of_channel))
    return context.view(result, x.shape)


@lowers("aten.instance_norm.default")
def _instance_norm(
    context: Context,
    name: str,
    x: Operand,
    weight: Operand | None,
    bias: Operand | None,
    running_mean: Operand | None,
    running_var: Operand | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Operand:
    if not use_input_stats:
        return _batch_norm(
            context, name, x, weight, bias, running_mean, running_var, False, momentum, eps
        )
    if running_mean is not None:
        raise context.unsupported(f"{name} that tracks running statistics while it trains")
    rows = Rows(context, x, range(2, len(x.shape)))
    scale, shift = (None if o is None else o.at(rows.index[1]) for o in (weight, bias))
    return rows.each(name, _affine(_standardized(rows, eps)[2], scale, shift))


@lowers("aten.batch_norm.default")
def _batch_norm(
    context: Context,
    name: str,
    x: Operand,
    weight: Operand | None,
    bias: Operand | None,
    running_mean: Operand | None,
    running_var: Operand | None,
    training: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Operand:
    """Per channel, over all else; in training by the batch's own statistics, which it keeps."""
    rows = Rows(context, x, [d for d in range(len(x.shape)) if d != 1])
    scale, shift = (None if o is None else o.at(rows.index[1]) for o in (weight, bias))
    if not training:
        assert running_mean is not None and running_var is not None  # PyTorch has seen to it
        centered = apply("sub", rows.element(), running_mean.at(rows.index[1]))
        inverse = _inverse_deviation(rows, running_var.at(rows.index[1]), eps)
        of_state = apply("mul", centered, rows.row(inverse))
        return rows.each(name, _affine(of_state, scale, shift))
    mean, squares, value = _standardized(rows, eps)
    unbiased = apply("div", rows.row(squares), rows.size(squares.dtype, 1))
    for state, seen in ((running_mean, rows.row(mean)), (running_var, unbiased)):
        if state is not None:
            _move(context, state, rows, seen, momentum)
    return rows.each(name, _affine(value, scale, shift))


def _move(context: Context, state: Operand, rows: Rows, seen: Value, momentum: float) -> None:
    """state = (1 - momentum) * state + momentum * seen, one value a channel."""
    channel = rows.parallel[1]
    old = state.at(rows.index[1])
    kept = apply("mul", constant(1 - momentum, old.dtype), old)
    moved = apply("mul", constant(momentum, old.dtype), seen)
    context.update(state, (channel,), apply("add", kept, moved))


@lowers("aten.cosine_similarity.default")
def _cosine_similarity(
    context: Context, name: str, a: Operand, b: Operand, dim: int = 1, eps: float = 1e-8
) -> Operand:
    return cosine_similarity(context, name, a, b, dim, eps)


def cosine_similarity(
    context: Context, name: str, a: Operand, b: Operand, dim: int, eps: float
) -> Operand:
    """The product of two vectors over the product of their lengths, each at least `eps`."""
    shape = context.broadcast([a.shape, b.shape])
    rows = Rows(context, Operand(a.name, a.dtype, shape), dim)
    left, right = (context.read(o, rows.parallel) for o in (a, b))
    product = rows.reduce("product", "sum", apply("mul", left, right))
    lengths = [
        vector_norm(rows, wish, 2, value)
        for wish, value in (("length_a", left), ("length_b", right))
    ]
    bounded = [
        apply("maximum", rows.row(o), constant(eps, o.dtype)) for o in lengths
    ]  # fmt: skip
    return rows.per_row(name, apply("div", rows.row(product), apply("mul", *bounded)))


@lowers("aten.pairwise_distance.default")
def _pairwise_distance(
    context: Context, name: str, a: Operand, b: Operand, p: float = 2, eps: float = 1e-6,
    keepdim: bool = False,
) -> Operand:  # fmt: skip
    rows, result = distance(context, name, a, b, p, eps)
    return keep(context, name, result, rows, keepdim)


def distance(
    context: Context, name: str, a: Operand, b: Operand, p: float, eps: float
) -> tuple[Rows, Operand]:
    """The norm of a - b + eps over the last dimension."""
    shape = context.broadcast([a.shape, b.shape])
    rows = Rows(context, Operand(a.name, a.dtype, shape), -1)
    left, right = (context.read(o, rows.parallel) for o in (a, b))
    apart = apply("add", apply("sub", left, right), constant(eps, left.dtype))
    return rows, vector_norm(rows, name, p, apart)

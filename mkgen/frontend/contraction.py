"""Matrix products: sums of products, tagged for specialised templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mkgen.expression import Expression, Int, Name
from mkgen.frontend.context import Context, Operand, apply, constant
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import Apply, Axis, Value, value_names


@lowers("aten.matmul.default", "aten.mm.default", "aten.bmm.default", "aten.mv.default")
def _matmul(context: Context, name: str, a: Operand, b: Operand) -> Operand:
    """a[..., M, K] @ b[..., K, N], batch dimensions broadcast; a vector is one row or column."""
    if not a.shape or not b.shape:
        raise context.unsupported(f"{name} with a scalar")
    if len(a.shape) > 1 and len(b.shape) > 1:
        return _product(context, name, a, b)
    batch = "abcdefgh"[: max(len(a.shape), len(b.shape), 2) - 2]
    left = "z" if len(a.shape) == 1 else f"{batch}mz"
    right = "z" if len(b.shape) == 1 else f"{batch}zn"
    wanted = batch + "m" * (len(a.shape) > 1) + "n" * (len(b.shape) > 1)
    return einsum(context, name, [left, right], wanted, [a, b])


@lowers("aten.dot.default", "aten.vdot.default", "aten.inner.default")
def _dot(context: Context, name: str, a: Operand, b: Operand) -> Operand:
    """The sum of products over the last dimension of both."""
    left, right = "abcdefgh"[: len(a.shape) - 1], "ijklmnop"[: len(b.shape) - 1]
    return einsum(context, name, [f"{left}z", f"{right}z"], left + right, [a, b])


def _product(context: Context, name: str, a: Operand, b: Operand) -> Operand:
    shape = (*context.broadcast([a.shape[:-2], b.shape[:-2]]), a.shape[-2], b.shape[-1])
    axes = context.axes(shape)
    (depth,) = context.axes((a.shape[-1],), "reduce", axes)
    batch, m, n, k = axes[:-2], axes[-2], axes[-1], Name(depth.name)
    row = Int(0) if m.extent == Int(1) else Name(m.name)
    col = Int(0) if n.extent == Int(1) else Name(n.name)
    left = a.at(*context.read(replace(a, shape=a.shape[:-2]), batch).index, row, k)
    right = b.at(*context.read(replace(b, shape=b.shape[:-2]), batch).index, k, col)
    return sum_of_products(context, name, (*axes, depth), left, right)


def sum_of_products(
    context: Context, name: str, axes: Sequence[Axis], left: Value, right: Value
) -> Operand:
    """The nest of a contraction: tagged for tiles where both sides have axes of their own."""
    parallel = {a.name for a in axes if a.kind == "parallel"}
    sides = [value_names(left) & parallel, value_names(right) & parallel]
    own = sides[0] - sides[1] and sides[1] - sides[0]
    value = apply("mul", left, right)
    return context.emit(name, axes, value, "sum", tag="matmul" if own else "reduce")


@lowers("aten.outer.default", "aten.ger.default")
def _outer(context: Context, name: str, a: Operand, b: Operand) -> Operand:
    column = context.view(a, (*a.shape, Int(1)))
    return context.pointwise(name, lambda u, v: apply("mul", u, v, name=name), column, b)


@lowers("aten.addmm.default", "aten.baddbmm.default", "aten.addmv.default")
def _addmm(
    context: Context,
    name: str,
    added: Operand,
    a: Operand,
    b: Operand,
    *,
    beta: float = 1,
    alpha: float = 1,
) -> Operand:
    """beta * added + alpha * (a @ b); `added` is not read where beta is 0."""
    result = _matmul(context, f"{name}_product", a, b)

    def scaled(value: Value, factor: float) -> Value:
        return value if factor == 1 else apply("mul", value, constant(factor, value.dtype))

    if beta == 0:
        return context.pointwise(name, lambda p: scaled(p, alpha), result)
    return context.pointwise(
        name,
        lambda p, c: apply("add", scaled(c, beta), scaled(p, alpha), name=name),
        result,
        added,
    )


@lowers("aten.einsum.default")
def _einsum(
    context: Context, name: str, equation: str, tensors: Sequence[Operand], *_: Any, **__: Any
) -> Operand:
    """The sum of products that `equation` names, as one nest."""
    text = equation.replace(" ", "")
    given, arrow, wanted = text.partition("->")
    terms = given.split(",")
    if "..." in text:
        named = wanted if arrow else None
        terms, wanted = _ellipses(context, terms, named, tensors)
    elif not arrow:
        every = "".join(terms)
        wanted = "".join(sorted(c for c in set(every) if every.count(c) == 1))
    return einsum(context, name, terms, wanted, tensors)


def _ellipses(
    context: Context, terms: Sequence[str], wanted: str | None, tensors: Sequence[Operand]
) -> tuple[list[str], str]:
    """The terms with `...` spelled as letters that the equation does not use."""
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in "".join(terms)]
    ranks = [
        len(t.shape) - len(term.replace("...", ""))
        for t, term in zip(tensors, terms, strict=True)
        if "..." in term
    ]
    letters = "".join(free[: max(ranks)])
    spelled = []
    for tensor, term in zip(tensors, terms, strict=True):
        rank = len(tensor.shape) - len(term.replace("...", ""))
        spelled.append(term.replace("...", letters[len(letters) - rank :]))
    if wanted is None:
        every = "".join(t.replace("...", "") for t in terms)
        wanted = "..." + "".join(sorted(c for c in set(every) if every.count(c) == 1))
    return spelled, wanted.replace("...", letters)


def einsum(
    context: Context, name: str, terms: Sequence[str], wanted: str, tensors: Sequence[Operand]
) -> Operand:
    """Products of elements whose letters agree, summed over letters that `wanted` lacks."""
    extents: dict[str, Expression] = {}
    for term, tensor in zip(terms, tensors, strict=True):
        for letter, extent in zip(term, tensor.shape, strict=True):
            if letter not in extents or context.extent(extents[letter]) == 1:
                extents[letter] = extent
    summed = [c for c in extents if c not in wanted]
    parallel = context.axes([extents[c] for c in wanted])
    depth = context.axes([extents[c] for c in summed], "reduce", parallel)
    axes = dict(zip([*wanted, *summed], (*parallel, *depth), strict=True))
    factors: list[Value] = []
    for term, tensor in zip(terms, tensors, strict=True):
        index = [
            Int(0) if context.extent(d) == 1 != context.extent(extents[c]) else Name(axes[c].name)
            for c, d in zip(term, tensor.shape, strict=True)
        ]
        factors.append(tensor.at(*index))
    every = (*parallel, *depth)
    if len(factors) == 2 and summed:
        return sum_of_products(context, name, every, factors[0], factors[1])
    value = factors[0]
    for factor in factors[1:]:
        value = apply("mul", value, factor)
    if not summed:
        return context.emit(name, every, value)
    return context.emit(name, every, value, "sum", tag="reduce")


@lowers("aten.linear.default")
def _linear(
    context: Context, name: str, x: Operand, weight: Operand, bias: Operand | None = None
) -> Operand:
    """x[..., K] @ weight[N, K].T + bias[N]."""
    shape = (*x.shape[:-1], weight.shape[0])
    axes = context.axes(shape)
    (depth,) = context.axes((x.shape[-1],), "reduce", axes)
    k = Name(depth.name)
    left = x.at(*(Name(a.name) for a in axes[:-1]), k)
    right = weight.at(Name(axes[-1].name), k)
    result = sum_of_products(context, name, (*axes, depth), left, right)
    return _add_bias(context, name, result, bias, len(shape) - 1)


def _add_bias(
    context: Context, name: str, result: Operand, bias: Operand | None, dimension: int
) -> Operand:
    if bias is None:
        return result
    axes = context.axes(result.shape)
    load = bias.at(Name(axes[dimension].name))
    value = Apply(result.dtype, "add", (result.at(*(Name(a.name) for a in axes)), load))
    return context.emit(f"{name}_bias", axes, replace(value, name=f"{name}_bias"))

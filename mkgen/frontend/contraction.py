"""Matrix products: sums of products, tagged for specialised templates."""

from __future__ import annotations

from dataclasses import replace

from mkgen.expression import Name
from mkgen.frontend.context import Context, Operand, apply
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import Apply


@lowers("aten.matmul.default", "aten.mm.default", "aten.bmm.default")
def _matmul(context: Context, name: str, a: Operand, b: Operand) -> Operand:
    """a[..., M, K] @ b[..., K, N], batch dimensions broadcast."""
    if min(len(a.shape), len(b.shape)) < 2:
        raise context.unsupported(f"{name} with a vector; use matrices")
    shape = (*context.broadcast([a.shape[:-2], b.shape[:-2]]), a.shape[-2], b.shape[-1])
    axes = context.axes(shape)
    (depth,) = context.axes((a.shape[-1],), "reduce", axes)
    batch, m, n, k = axes[:-2], axes[-2], axes[-1], Name(depth.name)
    left = a.at(*context.read(replace(a, shape=a.shape[:-2]), batch).index, Name(m.name), k)
    right = b.at(*context.read(replace(b, shape=b.shape[:-2]), batch).index, k, Name(n.name))
    return context.emit(name, (*axes, depth), apply("mul", left, right), "sum", tag="matmul")


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
    value = apply("mul", left, right)
    result = context.emit(name, (*axes, depth), value, "sum", tag="matmul")
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

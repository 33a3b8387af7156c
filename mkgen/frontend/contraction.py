"""Matrix products and convolutions: sums of products, tagged for specialised templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mkgen.expression import Expression, Int, Name
from mkgen.frontend.context import Context, Operand, apply, constant
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import Apply, Axis, Bound, Load, Value, value_names


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


def _spread(values: Any, count: int) -> tuple[int, ...]:
    given = tuple(values) if isinstance(values, Sequence) else (values,)
    return given * count if len(given) == 1 else given


_SPATIAL = {1: "W", 2: "HW", 3: "DHW"}
_OUT = {1: "Q", 2: "PQ", 3: "OPQ"}


@lowers("aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default")
def _conv(
    context: Context,
    name: str,
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Operand:
    """x[N, C, *spatial] with weight[K, C, *window]; out-of-range positions read 0."""
    rank = len(x.shape) - 2
    if groups != 1:
        raise context.unsupported(f"{name} with groups={groups}; only groups=1 is lowered yet")
    if isinstance(padding, str):
        raise context.unsupported(f"{name} with padding={padding!r}; give numbers")
    window = Window(context, x, weight.shape[2:], stride, padding, dilation, rank)
    axes = context.axes((x.shape[0], weight.shape[0], *window.out))
    depth = context.axes((x.shape[1], *weight.shape[2:]), "reduce", axes)
    load = window.load(x, (Name(axes[0].name), Name(depth[0].name)), axes[2:], depth[1:])
    taps = weight.at(Name(axes[1].name), *(Name(a.name) for a in depth))
    value = apply("mul", load, taps)
    result = context.emit(name, (*axes, *depth), value, "sum", tag="conv")
    return _add_bias(context, name, result, bias, 1)


class Window:
    """A sliding window over the trailing `rank` dimensions of `x`: sizes, index and guard.

    Strides, paddings and dilations that are not neutral become named constants.
    """

    def __init__(
        self,
        context: Context,
        x: Operand,
        window: Sequence[Expression],
        stride: Any,
        padding: Any,
        dilation: Any,
        rank: int,
    ) -> None:
        letters = _SPATIAL[rank]
        self.stride = self._constants(context, "STRIDE", letters, _spread(stride, rank), 1)
        self.pad = self._constants(context, "PAD", letters, _spread(padding, rank), 0)
        self.dilation = self._constants(context, "DILATION", letters, _spread(dilation, rank), 1)
        self.inputs = x.shape[2:]
        self.out = tuple(
            context.derived(
                _OUT[rank][i],
                (size + 2 * self.pad[i] - self.dilation[i] * (window[i] - 1) - 1) // self.stride[i]
                + 1,
            )
            for i, size in enumerate(self.inputs)
        )

    @staticmethod
    def _constants(
        context: Context, word: str, letters: str, values: tuple[int, ...], neutral: int
    ) -> tuple[Expression, ...]:
        return tuple(
            Int(neutral) if v == neutral else context.derived(f"{word}_{letter}", Int(v))
            for letter, v in zip(letters, values, strict=True)
        )

    def load(
        self,
        x: Operand,
        leading: tuple[Expression, ...],
        out_axes: Sequence[Axis],
        taps: Sequence[Axis],
        other: float = 0.0,
    ) -> Load:
        """The element of `x` under tap `taps` of the window at `out_axes`."""
        positions = [
            Name(o.name) * self.stride[i] + Name(t.name) * self.dilation[i] - self.pad[i]
            for i, (o, t) in enumerate(zip(out_axes, taps, strict=True))
        ]
        guard = tuple(
            Bound(position, size)
            for position, size, pad in zip(positions, self.inputs, self.pad, strict=True)
            if pad != Int(0)
        )
        load = x.at(*leading, *positions)
        return replace(load, guard=guard, other=other if guard else None)

"""Matrix products and convolutions: sums of products, tagged for specialised templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mkgen.expression import Expression, Int, Name
from mkgen.frontend.context import Context, Operand, apply
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import Apply, Axis, Bound, Load


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

"""Convolutions: sums of products under a sliding window, tagged for specialised templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mkgen.expression import Expression, Int, Name
from mkgen.frontend.context import Context, Operand, apply
from mkgen.frontend.lower import lowers
from mkgen.frontend.sliding import OUT, Spread, Window, axis, loop, spread, taps
from mkgen.ir.nest import Apply, Axis, Load

#: (leading index, result's position, tap) -> the input element
Gather = Callable[[Sequence[Expression], Sequence[Expression], Sequence[Expression]], Load]


@dataclass
class _Convolution:
    """One convolution: what its nests are made of. `x` and `weight` as the user gave them."""

    context: Context
    name: str
    x: Operand
    weight: Operand
    bias: Operand | None
    out: tuple[Expression, ...]
    """Sizes of the result's spatial dimensions."""
    transposed: bool

    @property
    def window(self) -> tuple[Expression, ...]:
        return self.weight.shape[2:]

    def lower(self, gather: Callable[[Operand], Gather], groups: int) -> Operand:
        """The result, N, K, spatial; `gather` reads the tensor it is given."""
        if groups == 1:
            return self._whole(gather(self.x))
        if self.weight.shape[1] == Int(1):
            return self._depthwise(gather(self.x))
        return self._grouped(gather, groups)

    def _axes(self, channels: Sequence[tuple[str, Expression]]) -> tuple[Axis, ...]:
        """Parallel axes: batch, `channels`, spatial."""
        letters = (letter.lower() for letter in OUT[len(self.out)])
        wishes = (("n", self.x.shape[0]), *channels, *zip(letters, self.out, strict=True))
        made: list[Axis] = []
        for wish, extent in wishes:
            made.append(loop(self.context, wish, extent, "parallel", made))
        return tuple(made)

    def _product(
        self, axes: Sequence[Axis], depth: Sequence[Axis], load: Load, filters: Load, tag: str
    ) -> Operand:
        value = apply("mul", load, filters)
        return self.context.emit(self.name, (*axes, *depth), value, "sum", tag=tag)

    def _whole(self, gather: Gather) -> Operand:
        axes = self._axes((("k", self.weight.shape[0 if not self.transposed else 1]),))
        channel = loop(self.context, "c", self.x.shape[1], "reduce", axes)
        reduced, positions = taps(self.context, self.window, (*axes, channel))
        n, k, *at = (Name(a.name) for a in axes)
        c = Name(channel.name)
        load = gather((n, c), at, positions)
        filters = self.weight.at(*((c, k) if self.transposed else (k, c)), *positions)
        result = self._product(axes, (channel, *reduced), load, filters, "conv")
        return self._biased(result, axes, (1,))

    def _depthwise(self, gather: Gather) -> Operand:
        """One channel a group: a small window per element, too thin for a matrix product."""
        filters, channels = self.weight.shape[0], self.x.shape[1]
        axes = self._axes((("k" if filters != channels else "c", filters),))
        reduced, positions = taps(self.context, self.window, axes)
        n, k, *at = (Name(a.name) for a in axes)
        c: Expression = k
        if filters != channels:
            c = k // self.context.derived("MULTIPLIER", filters // channels)
        load = gather((n, c), at, positions)
        # transposed filters are C, 1: the same index, as C is all there is
        value = self.weight.at(k, Int(0), *positions)
        result = self._product(axes, reduced, load, value, "depthwise")
        return self._biased(result, axes, (1,))

    def _grouped(self, gather: Callable[[Operand], Gather], groups: int) -> Operand:
        """Channels seen as (group, channel of the group): the group is a batch of the product."""
        context, first, second = self.context, *self.weight.shape[:2]
        count = context.derived("GROUPS", Int(groups))
        own = context.derived("GROUP_C", self.x.shape[1] // count)
        filters = context.derived("GROUP_K", second if self.transposed else first // count)
        inner = (own, filters) if self.transposed else (filters, own)
        x = context.view(self.x, (self.x.shape[0], count, own, *self.x.shape[2:]))
        weight = context.view(self.weight, (count, *inner, *self.window))
        axes = self._axes((("g", count), ("k", filters)))
        channel = axis(context, "c", own, "reduce", axes)
        reduced, positions = taps(context, self.window, (*axes, channel))
        n, g, k, *at = (Name(a.name) for a in axes)
        c = Name(channel.name)
        load = gather(x)((n, g, c), at, positions)
        values = weight.at(g, *((c, k) if self.transposed else (k, c)), *positions)
        result = self._product(axes, (channel, *reduced), load, values, "conv")
        result = self._biased(result, axes, (1, 2))
        total = context.derived("K", count * filters) if self.transposed else first
        return context.view(result, (self.x.shape[0], total, *self.out))

    def _biased(self, result: Operand, axes: Sequence[Axis], where: tuple[int, ...]) -> Operand:
        """`result` + bias, whose dimension the axes at `where` walk together."""
        if self.bias is None:
            return result
        bias = self.context.view(self.bias, tuple(axes[i].extent for i in where))
        load = bias.at(*(Name(axes[i].name) for i in where))
        own = result.at(*(Name(a.name) for a in axes))
        name = f"{self.name}_bias"
        return self.context.emit(name, axes, Apply(own.dtype, "add", (own, load), name))


def _batched(context: Context, x: Operand, rank: int) -> Operand:
    """`x` with a batch of one in front when it has none."""
    return x if len(x.shape) == rank + 2 else context.view(x, (Int(1), *x.shape))


def _convolve(
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
    """x[N, C, *spatial] with weight[K, C / groups, *window]; out-of-range positions read 0."""
    rank = len(weight.shape) - 2
    batched = _batched(context, x, rank)
    window = Window(context, batched, weight.shape[2:], stride, padding, dilation)
    made = _Convolution(context, name, batched, weight, bias, window.out, False)

    def gather(source: Operand) -> Gather:
        return lambda leading, at, tap: window.load(source, leading, at, tap)

    result = made.lower(gather, groups)
    return result if batched is x else context.view(result, result.shape[1:])


def _transposed(
    context: Context,
    name: str,
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Operand:
    """x[N, C, *spatial] spread by weight[C, K / groups, *window], as a gather for each result."""
    rank = len(weight.shape) - 2
    batched = _batched(context, x, rank)
    window = Spread(context, batched, weight.shape[2:], stride, padding, output_padding, dilation)
    made = _Convolution(context, name, batched, weight, bias, window.out, True)

    def gather(source: Operand) -> Gather:
        return lambda leading, at, tap: window.load(source, leading, at, tap)

    result = made.lower(gather, groups)
    return result if batched is x else context.view(result, result.shape[1:])


lowers(
    *(f"aten.conv{rank}d.{form}" for rank in (1, 2, 3) for form in ("default", "padding"))
)(_convolve)  # fmt: skip
lowers(
    "aten.conv_transpose1d.default", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input"
)(_transposed)


@lowers("aten.convolution.default")
def _convolution(
    context: Context,
    name: str,
    x: Operand,
    weight: Operand,
    bias: Operand | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Operand:
    """Any of the above, every setting given."""
    rank = len(weight.shape) - 2
    numbers = (spread(v, rank) for v in (stride, padding, output_padding, dilation))
    stride, padding, output_padding, dilation = numbers
    if transposed:
        return _transposed(
            context, name, x, weight, bias, stride, padding, output_padding, groups, dilation
        )
    return _convolve(context, name, x, weight, bias, stride, padding, dilation, groups)

"""The geometry of a window that slides over the last dimensions of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mkgen.expression import Binary, Expression, Int, Name
from mkgen.frontend.context import RESERVED, Context, Operand, axis_name
from mkgen.ir.nest import Axis, Bound, Load

#: Letters of the spatial dimensions, by their number.
SPATIAL = {1: "W", 2: "HW", 3: "DHW"}
#: Letters of the result's spatial dimensions.
OUT = {1: "Q", 2: "PQ", 3: "OPQ"}
#: Letters of the window's own dimensions.
TAPS = {1: "s", 2: "rs", 3: "trs"}


def spread(values: Any, count: int) -> tuple[Any, ...]:
    """`values` as `count` numbers: one number, or a list of one, stands for all."""
    given = tuple(values) if isinstance(values, Sequence) else (values,)
    return given * count if len(given) == 1 else given


def constants(
    context: Context, word: str, letters: str, values: Sequence[int], neutral: int
) -> tuple[Expression, ...]:
    """A named size for every value that is not `neutral`: `STRIDE_H`."""
    return tuple(
        Int(neutral) if v == neutral else context.derived(f"{word}_{letter}", Int(v))
        for letter, v in zip(letters, values, strict=True)
    )


def loop(
    context: Context, wish: str, extent: Expression, kind: str, others: Sequence[Axis]
) -> Axis:
    """An axis named after its size (R -> r), or `wish` where the size has no name of its own."""
    own = isinstance(extent, Name) and extent.name not in context.graph.derived
    return axis(context, axis_name(extent, 0) if own else wish, extent, kind, others)


def axis(
    context: Context, wish: str, extent: Expression, kind: str, others: Sequence[Axis]
) -> Axis:
    """An axis called `wish`, or like it when a tensor or one of `others` has that name."""
    taken = {a.name for a in others} | set(context.graph.tensors) | RESERVED
    name, count = wish, 1
    while name in taken:
        count += 1
        name = f"{wish}{count}"
    return Axis(name, extent, kind)  # type: ignore[arg-type]


def taps(
    context: Context, window: Sequence[Expression], others: Sequence[Axis]
) -> tuple[tuple[Axis, ...], tuple[Expression, ...]]:
    """Reduce axes over `window`, and the position along each dimension: 0 where it is one wide."""
    made: list[Axis] = []
    positions: list[Expression] = []
    for letter, extent in zip(TAPS[len(window)], window, strict=True):
        if extent == Int(1):
            positions.append(Int(0))
            continue
        made.append(loop(context, letter, extent, "reduce", (*others, *made)))
        positions.append(Name(made[-1].name))
    return tuple(made), tuple(positions)


class Window:
    """A sliding window over the trailing dimensions of `x`, as many as `window` has.

    Strides, paddings and dilations that are not neutral become named constants, and so does the
    result's size. `ceil_mode` lets the last window leave the padded tensor, but not start beyond
    its padding. `padding` may be "same" (stride 1 only) or "valid".
    """

    def __init__(
        self,
        context: Context,
        x: Operand,
        window: Sequence[Expression],
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> None:
        rank = len(window)
        letters = SPATIAL[rank]
        self.window, self.inputs = tuple(window), x.shape[-rank:]
        self.stride = constants(context, "STRIDE", letters, spread(stride, rank), 1)
        self.dilation = constants(context, "DILATION", letters, spread(dilation, rank), 1)
        self.reach = tuple(d * (w - 1) for d, w in zip(self.dilation, window, strict=True))
        self.pad: tuple[Expression, ...]
        if padding == "same":
            self.pad = tuple(
                Int(0) if r == Int(0) else context.derived(f"PAD_{letter}", r // 2)
                for letter, r in zip(letters, self.reach, strict=True)
            )
        else:
            numbers = spread(0 if padding == "valid" else padding, rank)
            self.pad = constants(context, "PAD", letters, numbers, 0)
        self.out = tuple(
            context.derived(letter, size if padding == "same" else self._count(i, size, ceil_mode))
            for i, (letter, size) in enumerate(zip(OUT[rank], self.inputs, strict=True))
        )
        # a window one wide never leaves the tensor, unless padding moves it
        self.guarded = tuple(
            p != Int(0) or ceil_mode or (padding == "same" and r != Int(0))
            for p, r in zip(self.pad, self.reach, strict=True)
        )

    def _count(self, i: int, size: Expression, ceil_mode: bool) -> Expression:
        room = size + 2 * self.pad[i] - self.reach[i] - 1
        if not ceil_mode:
            return room // self.stride[i] + 1
        steps = (room + self.stride[i] - 1) // self.stride[i]
        return steps + 1 - Binary(">=", steps * self.stride[i], size + self.pad[i])

    def start(self, i: int, at: Expression) -> Expression:
        """Where the window `at` starts along dimension `i`; negative inside the padding."""
        return at * self.stride[i] - self.pad[i]

    def positions(
        self, at: Sequence[Expression], taps: Sequence[Expression]
    ) -> tuple[Expression, ...]:
        """The element of every dimension under tap `taps` of the window `at`."""
        return tuple(
            o * self.stride[i] + t * self.dilation[i] - self.pad[i]
            for i, (o, t) in enumerate(zip(at, taps, strict=True))
        )

    def bounds(self, positions: Sequence[Expression]) -> tuple[Bound, ...]:
        """What must hold for `positions` to lie in the tensor, where it can fail."""
        return tuple(
            Bound(position, size)
            for position, size, guarded in zip(positions, self.inputs, self.guarded, strict=True)
            if guarded
        )

    def load(
        self,
        x: Operand,
        leading: Sequence[Expression],
        at: Sequence[Expression],
        taps: Sequence[Expression],
        other: float = 0.0,
    ) -> Load:
        """The element of `x` under tap `taps` of the window `at`; `other` outside."""
        positions = self.positions(at, taps)
        guard = self.bounds(positions)
        return replace(x.at(*leading, *positions), guard=guard, other=other if guard else None)


class Spread:
    """The window of a transposed convolution: which inputs reach a result, as a gather.

    Tap t of the result at p comes from input (p + pad - t * dilation) / stride, where that divides
    evenly and lies in the tensor. `extra` is PyTorch's output_padding.
    """

    def __init__(
        self,
        context: Context,
        x: Operand,
        window: Sequence[Expression],
        stride: Any = 1,
        padding: Any = 0,
        extra: Any = 0,
        dilation: Any = 1,
    ) -> None:
        rank = len(window)
        letters = SPATIAL[rank]
        self.inputs = x.shape[-rank:]
        self.stride = constants(context, "STRIDE", letters, spread(stride, rank), 1)
        self.pad = constants(context, "PAD", letters, spread(padding, rank), 0)
        self.dilation = constants(context, "DILATION", letters, spread(dilation, rank), 1)
        extras = constants(context, "OUTPUT_PAD", letters, spread(extra, rank), 0)
        self.out = tuple(
            context.derived(
                letter,
                (self.inputs[i] - 1) * self.stride[i]
                - 2 * self.pad[i]
                + self.dilation[i] * (window[i] - 1)
                + extras[i]
                + 1,
            )
            for i, letter in enumerate(OUT[rank])
        )

    def load(
        self,
        x: Operand,
        leading: Sequence[Expression],
        at: Sequence[Expression],
        taps: Sequence[Expression],
    ) -> Load:
        """The element of `x` that tap `taps` spreads to the result `at`; 0 where there is none."""
        index: list[Expression] = []
        guard: list[Bound] = []
        for i, (o, t) in enumerate(zip(at, taps, strict=True)):
            scaled = o + self.pad[i] - t * self.dilation[i]
            index.append(scaled // self.stride[i])
            # Where the remainder is 0 division is exact, so that C's rounding towards 0 is right.
            guard.append(Bound(index[-1], self.inputs[i]))
            if self.stride[i] != Int(1):
                guard.append(Bound(scaled % self.stride[i], Int(1)))
        return replace(x.at(*leading, *index), guard=tuple(guard), other=0.0)

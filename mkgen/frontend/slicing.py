"""Parts of a tensor: slices, selections, splits, windows that overlap, diagonals."""

from __future__ import annotations

from collections.abc import Sequence

from mkgen.expression import Call, Expression, Int, Name, ceil_div, evaluate
from mkgen.frontend.context import Context, Operand, apply, constant
from mkgen.frontend.layout import (
    Index,
    always,
    at_dimension,
    moved,
    named,
    part_name,
    place_of,
    position,
    resized,
    tables,
    tidied,
    within,
)
from mkgen.frontend.lower import lowers

#: What `x[a:]` gives for its end.
OPEN_END = 2**63 - 1


@lowers("aten.slice.Tensor")
def _slice(
    context: Context,
    name: str,
    x: Operand,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Operand:
    at = dim % len(x.shape)
    length = x.shape[at]
    first = Int(0) if start in (None, 0) else position(context, x, at, 2)
    last = length if end in (None, OPEN_END) else position(context, x, at, 3)
    first, last = within(context, first, length), within(context, last, length)
    return part(context, name, x, at, first, last, context.literal(4) if step != 1 else Int(1))


def part(
    context: Context,
    name: str,
    x: Operand,
    at: int,
    first: Expression,
    last: Expression,
    step: Expression = Int(1),  # noqa: B008  (frozen)
) -> Operand:
    """`x[first:last:step]` along dimension `at`; `x` itself when that is all of it."""
    length = x.shape[at]
    if (first, last, step) == (Int(0), length, Int(1)):
        return x
    extent = last - first if step == Int(1) else ceil_div(last - first, step)
    if not always(context, Int(0), "<=", extent):
        extent = Call("max", (Int(0), extent))
    extent = tidied(context, extent, part_name(length, "PART"))
    return moved(
        context, name, x, resized(x, at, extent),
        lambda i: at_dimension(i, at, i[at] * step + first),
    )  # fmt: skip


@lowers("aten.narrow.default")
def _narrow(context: Context, name: str, x: Operand, dim: int, start: int, length: int) -> Operand:
    at = dim % len(x.shape)
    first = position(context, x, at, 2)
    extent = context.literal(3)
    return moved(
        context, name, x, resized(x, at, extent), lambda i: at_dimension(i, at, i[at] + first)
    )


@lowers("aten.select.int")
def _select(context: Context, name: str, x: Operand, dim: int, index: int) -> Operand:
    return selected(context, name, x, dim % len(x.shape), position(context, x, dim, 2))


def selected(context: Context, name: str, x: Operand, at: int, place: Expression) -> Operand:
    """`x` at `place` of dimension `at`, without that dimension."""
    shape = (*x.shape[:at], *x.shape[at + 1 :])
    if x.shape[at] == Int(1):
        return context.view(x, shape)
    return moved(context, name, x, shape, lambda i: (*i[:at], place, *i[at:]))


@lowers("aten.split.Tensor")
def _split(context: Context, name: str, x: Operand, size: int, dim: int = 0) -> tuple[Operand, ...]:
    at = dim % len(x.shape)
    return _pieces(context, name, x, at, context.literal(1))


@lowers("aten.chunk.default")
def _chunk(
    context: Context, name: str, x: Operand, chunks: int, dim: int = 0
) -> tuple[Operand, ...]:
    at, length = dim % len(x.shape), x.shape[dim]
    count = context.literal(1)
    whole = always(context, length % count, "==", Int(0))
    size = length // count if whole else ceil_div(length, count)
    return _pieces(context, name, x, at, tidied(context, size, part_name(length, "PIECE")))


def _pieces(
    context: Context, name: str, x: Operand, at: int, size: Expression
) -> tuple[Operand, ...]:
    """Neighbouring pieces of `size`, the last one shorter where that is how it comes out."""
    length = x.shape[at]
    counts = {-(-evaluate(length, t) // evaluate(size, t)) for t in tables(context)}
    if len(counts) != 1:
        raise context.unsupported(f"{name} into a number of pieces that depends on the sizes")
    (count,) = counts
    size = named(context, part_name(length, "PIECE"), size)
    made = []
    for i in range(count):
        first = Int(i) * size
        last = length if i == count - 1 else Int(i + 1) * size
        even = always(context, last - first, "==", size)
        extent = size if even else named(context, part_name(length, "REST"), last - first)
        made.append(_piece(context, f"{name}_{i}", x, at, first, extent))
    return tuple(made)


def _piece(
    context: Context, name: str, x: Operand, at: int, first: Expression, extent: Expression
) -> Operand:
    if extent == x.shape[at]:
        return x
    return moved(
        context, name, x, resized(x, at, extent), lambda i: at_dimension(i, at, i[at] + first)
    )


@lowers("aten.split_with_sizes.default", "aten.split.sizes")
def _split_sizes(
    context: Context, name: str, x: Operand, sizes: Sequence[int], dim: int = 0
) -> tuple[Operand, ...]:
    at = dim % len(x.shape)
    first: Expression = Int(0)
    made = []
    for i in range(len(sizes)):
        extent = context.literal(1, i)
        made.append(_piece(context, f"{name}_{i}", x, at, first, extent))
        first = first + extent
    return tuple(made)


@lowers("aten.unbind.int")
def _unbind(context: Context, name: str, x: Operand, dim: int = 0) -> tuple[Operand, ...]:
    at = dim % len(x.shape)
    counts = {evaluate(x.shape[at], t) for t in tables(context)}
    if len(counts) != 1:
        raise context.unsupported(f"{name} into a number of pieces that depends on the sizes")
    return tuple(selected(context, f"{name}_{i}", x, at, Int(i)) for i in range(counts.pop()))


@lowers("aten.unfold.default")
def _unfold(context: Context, name: str, x: Operand, dim: int, size: int, step: int) -> Operand:
    at = dim % len(x.shape)
    extent, stride = context.literal(2), context.literal(3)
    count = (x.shape[at] - extent) // stride + 1
    count = named(context, part_name(x.shape[at], "WINDOWS"), count)
    shape = (*resized(x, at, count), extent)
    return moved(
        context, name, x, shape, lambda i: at_dimension(i[:-1], at, i[at] * stride + i[-1])
    )


@lowers("aten.diagonal.default")
def _diagonal(
    context: Context, name: str, x: Operand, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Operand:
    rank = len(x.shape)
    rows, cols = dim1 % rank, dim2 % rank
    shift = context.literal(1) if offset else Int(0)
    above = evaluate(shift, context.sizes) >= 0
    down, right = (Int(0), shift) if above else (Int(0) - shift, Int(0))
    height, width = x.shape[rows] - down, x.shape[cols] - right
    extent = height if always(context, height, "==", width) else Call("min", (height, width))
    extent = named(context, part_name(x.shape[rows], "DIAGONAL"), extent)
    kept = [d for d in range(rank) if d not in (rows, cols)]

    def index(i: tuple[Name, ...]) -> Index:
        places = dict(zip(kept, i, strict=False)) | {rows: i[-1] + down, cols: i[-1] + right}
        return [places[d] for d in range(rank)]

    return moved(context, name, x, (*(x.shape[d] for d in kept), extent), index)


@lowers("aten.diag.default")
def _diag(context: Context, name: str, x: Operand, diagonal: int = 0) -> Operand:
    if len(x.shape) == 2:
        return _diagonal(context, name, x, diagonal)
    if diagonal:
        raise context.unsupported(f"{name} of a vector with diagonal={diagonal}")
    rows, cols = context.axes((x.shape[0], x.shape[0]))
    here = apply("eq", place_of(rows), place_of(cols))
    value = x.at(Name(rows.name))
    zero = constant(0, value.dtype)
    return context.emit(name, (rows, cols), apply("where", here, value, zero, name=name))


@lowers("aten.tril.default", "aten.triu.default")
def _triangle(context: Context, name: str, x: Operand, diagonal: int = 0) -> Operand:
    axes = context.axes(x.shape)
    shift = context.literal(1) if diagonal else Int(0)
    row, col = place_of(axes[-2], shift), place_of(axes[-1])
    kept = apply("le", row, col) if "triu" in name else apply("le", col, row)
    value = x.at(*(Name(a.name) for a in axes))
    zero = constant(0, value.dtype)
    return context.emit(name, axes, apply("where", kept, value, zero, name=name))

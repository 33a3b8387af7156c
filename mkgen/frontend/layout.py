"""Layout: the same elements seen in another shape, order or place, and tensors of known values.

A reshape is a view: nothing is emitted. The others are pointwise nests of one load, which fusion
writes into whatever reads them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mkgen.expression import Call, Expression, Int, Name, ceil_div, evaluate, product
from mkgen.frontend.context import Context, Operand, apply, cast, constant
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import Axis, Bound, IndexValue, Load, Value

#: What `x[a:]` gives for its end.
OPEN_END = 2**63 - 1

Index = Sequence[Expression]


def moved(
    context: Context,
    name: str,
    x: Operand,
    shape: Sequence[Expression],
    index: Callable[[tuple[Name, ...]], Index],
) -> Operand:
    """A tensor of `shape` whose element at axes `i` is `x[index(i)]`."""
    axes = context.axes(shape)
    return context.emit(name, axes, x.at(*index(tuple(Name(a.name) for a in axes))))


def at_dimension(index: Index, dimension: int, part: Expression) -> tuple[Expression, ...]:
    """`index` with another component at `dimension`."""
    return (*index[:dimension], part, *index[dimension + 1 :])


def resized(x: Operand, dimension: int, extent: Expression) -> tuple[Expression, ...]:
    """The shape of `x` with another extent at `dimension`."""
    return at_dimension(x.shape, dimension, extent)


def tables(context: Context) -> list[dict[str, int]]:
    """The sizes of every workload, derived ones included; of the traced one without a task."""
    if context.literals is None:
        return [context.sizes]
    return [context.graph.sizes(w.sizes) for w in context.literals.task.workloads()]


def always(context: Context, left: Expression, sign: str, right: Expression) -> bool:
    """Whether `left sign right` (== or <=) holds at every workload."""
    pairs = [(evaluate(left, t), evaluate(right, t)) for t in tables(context)]
    return all(a == b if sign == "==" else a <= b for a, b in pairs)


def named(context: Context, wish: str, expression: Expression) -> Expression:
    """A size with a name of its own, the same one for the same expression; numbers stay."""
    if isinstance(expression, Int | Name):
        return expression
    for name, known in context.graph.derived.items():
        if known == expression:
            return Name(name)
    return context.derived(wish, expression)


def _part_name(dimension: Expression, word: str) -> str:
    return f"{dimension.name}_{word}" if isinstance(dimension, Name) else word


def position(context: Context, x: Operand, dimension: int, *path: int | str) -> Expression:
    """The position at `path` of the arguments, counted from the end when it is negative."""
    found = context.literal(*path)
    negative = evaluate(found, context.sizes) < 0
    return x.shape[dimension] + found if negative else found


# Reshapes


@lowers("aten.view.default", "aten.reshape.default", "aten._unsafe_view.default")
def _view(context: Context, name: str, x: Operand, shape: Sequence[int]) -> Operand:
    return context.view(x, reshaped(context, x.shape, len(shape), (1,)))


def reshaped(
    context: Context, shape: Sequence[Expression], rank: int, path: tuple[int | str, ...]
) -> tuple[Expression, ...]:
    """The dimensions of a reshape of `shape`: own ones where they are the same, else by value."""
    wanted = [context.literal(*path, i) for i in range(rank)]
    result = [_own(context, d, shape) for d in wanted]
    for i, dimension in enumerate(wanted):
        if dimension == Int(-1):
            rest = [d for j, d in enumerate(result) if j != i]
            result[i] = _quotient(context, shape, rest)
    return tuple(result)


def _own(context: Context, wanted: Expression, shape: Sequence[Expression]) -> Expression:
    """`wanted` as `shape` writes it, where a dimension of the same size is there."""
    for dimension in shape:
        if dimension == wanted:
            return dimension
    if isinstance(wanted, Name | Int):
        return wanted
    return next((d for d in shape if always(context, d, "==", wanted)), wanted)


def _quotient(
    context: Context, shape: Sequence[Expression], others: Sequence[Expression]
) -> Expression:
    """What is left of the elements of `shape` when `others` are taken out."""
    left, divisors = list(shape), []
    for dimension in others:
        if dimension in left:
            left.remove(dimension)
        elif dimension != Int(1):
            divisors.append(dimension)
    left = [d for d in left if d != Int(1)]
    if not divisors:
        return product(left)
    found = product(left) // product(divisors)
    if context.literals is None:
        return found
    from mkgen.frontend.literals import fit

    every = tables(context)
    simple = fit([evaluate(found, t) for t in every], every)
    return simple if simple is not None else found


@lowers("aten.flatten.using_ints")
def _flatten(context: Context, name: str, x: Operand, start: int = 0, end: int = -1) -> Operand:
    rank = len(x.shape)
    if rank == 0:
        return context.view(x, (Int(1),))
    first, last = start % rank, end % rank
    merged = product([d for d in x.shape[first : last + 1] if d != Int(1)])
    return context.view(x, (*x.shape[:first], merged, *x.shape[last + 1 :]))


@lowers("aten.unflatten.int")
def _unflatten(context: Context, name: str, x: Operand, dim: int, sizes: Sequence[int]) -> Operand:
    at = dim % len(x.shape)
    parts = reshaped(context, (x.shape[at],), len(sizes), (2,))
    return context.view(x, (*x.shape[:at], *parts, *x.shape[at + 1 :]))


@lowers("aten.unsqueeze.default")
def _unsqueeze(context: Context, name: str, x: Operand, dim: int) -> Operand:
    at = dim % (len(x.shape) + 1)
    return context.view(x, (*x.shape[:at], Int(1), *x.shape[at:]))


@lowers("aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims")
def _squeeze(context: Context, name: str, x: Operand, dim: Any = None) -> Operand:
    rank = len(x.shape)
    given = range(rank) if dim is None else [dim] if isinstance(dim, int) else dim
    wanted = {d % rank for d in given} if rank else set()
    for d in wanted:
        ones = {evaluate(x.shape[d], t) == 1 for t in tables(context)}
        if len(ones) > 1:
            raise context.unsupported(f"{name} of a dimension that is 1 at some sizes only")
    kept = [d for i, d in enumerate(x.shape) if i not in wanted or context.extent(d) != 1]
    return context.view(x, kept)


@lowers("aten.clone.default", "aten.lift_fresh_copy.default", "aten.detach_.default")
def _same(context: Context, name: str, x: Operand, **_: Any) -> Operand:
    return x


# Other orders


def permuted(context: Context, name: str, x: Operand, order: Sequence[int]) -> Operand:
    """`x` with dimension `order[i]` at place `i`; a view where only dimensions of 1 move."""
    rank = len(x.shape)
    order = [d % rank for d in order]
    shape = [x.shape[d] for d in order]
    long = [d for d in order if x.shape[d] != Int(1)]
    if long == sorted(long):
        return context.view(x, shape)
    return moved(context, name, x, shape, lambda i: [i[order.index(d)] for d in range(rank)])


@lowers("aten.permute.default")
def _permute(context: Context, name: str, x: Operand, order: Sequence[int]) -> Operand:
    return permuted(context, name, x, order)


@lowers("aten.transpose.int")
def _transpose(context: Context, name: str, x: Operand, first: int, second: int) -> Operand:
    order = list(range(len(x.shape)))
    if order:
        order[first], order[second] = order[second], order[first]
    return permuted(context, name, x, order)


@lowers("aten.t.default", "aten.numpy_T.default")
def _reversed(context: Context, name: str, x: Operand) -> Operand:
    return permuted(context, name, x, list(range(len(x.shape)))[::-1])


@lowers("aten.mT.default")
def _matrix_transpose(context: Context, name: str, x: Operand) -> Operand:
    return _transpose(context, name, x, -2, -1)


@lowers("aten.movedim.int", "aten.movedim.intlist")
def _movedim(context: Context, name: str, x: Operand, source: Any, target: Any) -> Operand:
    rank = len(x.shape)
    sources = [d % rank for d in ([source] if isinstance(source, int) else source)]
    targets = [d % rank for d in ([target] if isinstance(target, int) else target)]
    order: list[int] = [-1] * rank
    for a, b in zip(sources, targets, strict=True):
        order[b] = a
    rest = iter(d for d in range(rank) if d not in sources)
    return permuted(context, name, x, [next(rest) if d < 0 else d for d in order])


@lowers("aten.flip.default")
def _flip(context: Context, name: str, x: Operand, dims: Sequence[int]) -> Operand:
    turned = {d % len(x.shape) for d in dims}

    def index(i: tuple[Name, ...]) -> Index:
        return [x.shape[d] - 1 - n if d in turned else n for d, n in enumerate(i)]

    return moved(context, name, x, x.shape, index)


@lowers("aten.roll.default")
def _roll(
    context: Context, name: str, x: Operand, shifts: Sequence[int], dims: Sequence[int] = ()
) -> Operand:
    if not dims:
        whole = context.view(x, (product(list(x.shape)),))
        return context.view(_rolled(context, name, whole, {0: context.literal(1, 0)}), x.shape)
    by_dimension = {d % len(x.shape): context.literal(1, k) for k, d in enumerate(dims)}
    return _rolled(context, name, x, by_dimension)


def _rolled(context: Context, name: str, x: Operand, shifts: dict[int, Expression]) -> Operand:
    # the number of places to look ahead: never negative, so that % means the same in C
    ahead = {
        d: named(context, _part_name(x.shape[d], "ROLL"), x.shape[d] - shift % x.shape[d])
        for d, shift in shifts.items()
    }

    def index(i: tuple[Name, ...]) -> Index:
        return [(n + ahead[d]) % x.shape[d] if d in ahead else n for d, n in enumerate(i)]

    return moved(context, name, x, x.shape, index)


@lowers("aten.pixel_shuffle.default", "aten.pixel_unshuffle.default")
def _pixel_shuffle(context: Context, name: str, x: Operand, factor: int) -> Operand:
    *outer, channels, height, width = x.shape
    r = context.literal(1)
    if "unshuffle" in name:

        def split(i: tuple[Name, ...]) -> Index:
            *o, c, h, w = i
            return [*o, c // (r * r), h * r + c // r % r, w * r + c % r]

        shape = [*outer, channels * (r * r), height // r, width // r]
        return moved(context, name, x, shape, split)

    def joined(i: tuple[Name, ...]) -> Index:
        *o, c, h, w = i
        return [*o, c * (r * r) + h % r * r + w % r, h // r, w // r]

    shape = [*outer, channels // (r * r), height * r, width * r]
    return moved(context, name, x, shape, joined)


# Parts


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
    first, last = _within(context, first, length), _within(context, last, length)
    return part(context, name, x, at, first, last, context.literal(4) if step != 1 else Int(1))


def _within(context: Context, place: Expression, length: Expression) -> Expression:
    """`place` cut to 0..length, as Python's slices do."""
    if place == length or (
        always(context, place, "<=", length) and always(context, Int(0), "<=", place)
    ):
        return place
    if always(context, length, "<=", place):
        return length
    return named(context, "BOUND", Call("max", (Int(0), Call("min", (place, length)))))


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
    extent = _tidy(context, extent, _part_name(length, "PART"))
    return moved(
        context, name, x, resized(x, at, extent),
        lambda i: at_dimension(i, at, i[at] * step + first),
    )  # fmt: skip


def _tidy(context: Context, extent: Expression, wish: str) -> Expression:
    """A name, a number or a simple quotient for `extent`; else a size of its own."""
    from mkgen.frontend.literals import fit

    if isinstance(extent, Int | Name):
        return extent
    every = tables(context)
    values = [evaluate(extent, t) for t in every]
    if len(set(values)) > 1:
        found = fit(values, every)
        if isinstance(found, Name):
            return found
    return named(context, wish, extent)


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
    return _pieces(context, name, x, at, _tidy(context, size, _part_name(length, "PIECE")))


def _pieces(
    context: Context, name: str, x: Operand, at: int, size: Expression
) -> tuple[Operand, ...]:
    """Neighbouring pieces of `size`, the last one shorter where that is how it comes out."""
    length = x.shape[at]
    counts = {-(-evaluate(length, t) // evaluate(size, t)) for t in tables(context)}
    if len(counts) != 1:
        raise context.unsupported(f"{name} into a number of pieces that depends on the sizes")
    (count,) = counts
    size = named(context, _part_name(length, "PIECE"), size)
    made = []
    for i in range(count):
        first = Int(i) * size
        last = length if i == count - 1 else Int(i + 1) * size
        even = always(context, last - first, "==", size)
        extent = size if even else named(context, _part_name(length, "REST"), last - first)
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
    count = named(context, _part_name(x.shape[at], "WINDOWS"), count)
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
    extent = named(context, _part_name(x.shape[rows], "DIAGONAL"), extent)
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
    here = apply("eq", _place(rows), _place(cols))
    value = x.at(Name(rows.name))
    zero = constant(0, value.dtype)
    return context.emit(name, (rows, cols), apply("where", here, value, zero, name=name))


def _place(axis: Axis, shift: Expression = Int(0)) -> IndexValue:  # noqa: B008  (frozen)
    return IndexValue("int32", Name(axis.name) + shift)


@lowers("aten.tril.default", "aten.triu.default")
def _triangle(context: Context, name: str, x: Operand, diagonal: int = 0) -> Operand:
    axes = context.axes(x.shape)
    shift = context.literal(1) if diagonal else Int(0)
    row, col = _place(axes[-2], shift), _place(axes[-1])
    kept = apply("le", row, col) if "triu" in name else apply("le", col, row)
    value = x.at(*(Name(a.name) for a in axes))
    zero = constant(0, value.dtype)
    return context.emit(name, axes, apply("where", kept, value, zero, name=name))


# Wholes made of parts


@lowers("aten.expand.default", "aten.broadcast_to.default")
def _expand(context: Context, name: str, x: Operand, shape: Sequence[int], **_: Any) -> Operand:
    wanted = []
    for i, given in enumerate(shape):
        own = i - len(shape) + len(x.shape)
        keep = own >= 0 and (given == -1 or context.extent(x.shape[own]) != 1)
        wanted.append(x.shape[own] if keep else context.literal(1, i))
    return broadcast(context, name, x, wanted)


def broadcast(context: Context, name: str, x: Operand, shape: Sequence[Expression]) -> Operand:
    """`x` repeated to `shape`; `x` itself where nothing is."""
    if tuple(shape) == x.shape:
        return x
    axes = context.axes(shape)
    return context.emit(name, axes, context.read(x, axes))


@lowers("aten.expand_as.default")
def _expand_as(context: Context, name: str, x: Operand, other: Operand) -> Operand:
    return broadcast(context, name, x, context.broadcast([x.shape, other.shape]))


@lowers("aten.broadcast_tensors.default")
def _broadcast_tensors(
    context: Context, name: str, tensors: Sequence[Operand]
) -> tuple[Operand, ...]:
    shape = context.broadcast([t.shape for t in tensors])
    return tuple(broadcast(context, f"{name}_{i}", t, shape) for i, t in enumerate(tensors))


@lowers("aten.repeat.default", "aten.tile.default")
def _repeat(context: Context, name: str, x: Operand, repeats: Sequence[int]) -> Operand:
    rank = max(len(repeats), len(x.shape))  # tile may name fewer dimensions than there are
    missing = rank - len(repeats)
    own = (*(Int(1),) * (rank - len(x.shape)), *x.shape)
    counts: list[Expression] = [Int(1)] * missing + [
        context.literal(1, i) for i in range(len(repeats))
    ]
    shape = [count * d for count, d in zip(counts, own, strict=True)]

    def index(i: tuple[Name, ...]) -> Index:
        last = len(x.shape)
        triples = zip(i[rank - last :], x.shape, counts[rank - last :], strict=True)
        return [n if count == Int(1) else n % d for n, d, count in triples]

    return moved(context, name, x, shape, index)


@lowers("aten.repeat_interleave.self_int")
def _repeat_interleave(
    context: Context, name: str, x: Operand, repeats: int, dim: int | None = None, **_: Any
) -> Operand:
    if dim is None:
        x, dim = context.view(x, (product(list(x.shape)),)), 0
    at, count = dim % len(x.shape), context.literal(1)
    return moved(
        context, name, x, resized(x, at, count * x.shape[at]),
        lambda i: at_dimension(i, at, i[at] // count),
    )  # fmt: skip


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
    return context.emit(name, axes, _rooted(value, name))


def _start(ends: Sequence[Expression], end: Expression) -> Expression:
    at = ends.index(end)
    return ends[at - 1] if at else Int(0)


def _guarded(load: Load, place: Expression, extent: Expression, other: float = 0.0) -> Load:
    return replace(load, guard=(*load.guard, Bound(place, extent)), other=other)


def _rooted(value: Value, name: str) -> Value:
    from mkgen.ir.nest import Apply

    return replace(value, name=name) if isinstance(value, Apply) else value


def _promoted(tensors: Sequence[Operand]) -> str:
    from mkgen.frontend.context import promote

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
    return context.emit(name, axes, _rooted(value, name))


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
    first = _within(context, first, length)
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


# Tensors of known values


def _dtype(dtype: Any, default: str) -> str:
    """The dtype in which values of `dtype` are computed."""
    name = default if dtype is None else str(dtype).removeprefix("torch.")
    return "float32" if name in ("float16", "bfloat16") else name


def _filled(
    context: Context, name: str, shape: Sequence[Expression], number: Any, dtype: str
) -> Operand:
    return context.emit(name, context.axes(shape), constant(number, dtype))


def _shape(context: Context, sizes: Sequence[int], *path: int | str) -> list[Expression]:
    return [context.literal(*path, i) for i in range(len(sizes))]


@lowers("aten.zeros.default", "aten.empty.memory_format", "aten.ones.default")
def _zeros(
    context: Context, name: str, sizes: Sequence[int], *, dtype: Any = None, **_: Any
) -> Operand:
    """Zeros or ones; what is empty is written before it is read, so zeros do."""
    number = 1 if "ones" in name else 0
    return _filled(context, name, _shape(context, sizes, 0), number, _dtype(dtype, "float32"))


@lowers("aten.full.default")
def _full(
    context: Context, name: str, sizes: Sequence[int], number: Any, *, dtype: Any = None, **_: Any
) -> Operand:
    default = {bool: "bool", int: "int64"}.get(type(number), "float32")
    return _filled(context, name, _shape(context, sizes, 0), number, _dtype(dtype, default))


@lowers("aten.scalar_tensor.default")
def _scalar(context: Context, name: str, number: Any, *, dtype: Any = None, **_: Any) -> Operand:
    return _filled(context, name, (), number, _dtype(dtype, "float32"))


@lowers(
    "aten.zeros_like.default", "aten.ones_like.default", "aten.full_like.default",
    "aten.empty_like.default",
)  # fmt: skip
def _filled_like(
    context: Context, name: str, x: Operand, number: Any = None, *, dtype: Any = None, **_: Any
) -> Operand:
    if number is None:
        number = 1 if "ones" in name else 0
    return _filled(context, name, x.shape, number, _dtype(dtype, x.dtype))


@lowers("aten.new_zeros.default", "aten.new_ones.default", "aten.new_full.default")
def _new_filled(
    context: Context,
    name: str,
    x: Operand,
    sizes: Sequence[int],
    number: Any = None,
    *,
    dtype: Any = None,
    **_: Any,
) -> Operand:
    if number is None:
        number = 1 if "ones" in name else 0
    return _filled(context, name, _shape(context, sizes, 1), number, _dtype(dtype, x.dtype))


@lowers("aten.arange.default", "aten.arange.start", "aten.arange.start_step")
def _arange(
    context: Context, name: str, *bounds: int | float, dtype: Any = None, **_: Any
) -> Operand:
    """Positions from the start on, a step apart."""
    whole = all(isinstance(b, int) for b in bounds)
    kind = _dtype(dtype, "int64" if whole else "float32")
    if not whole:
        return _float_range(context, name, bounds, kind)
    start: Expression = Int(0) if len(bounds) == 1 else context.literal(0)
    end = context.literal(0 if len(bounds) == 1 else 1)
    step: Expression = context.literal(2) if len(bounds) > 2 else Int(1)
    extent = end - start if step == Int(1) else ceil_div(end - start, step)
    (axis,) = context.axes((_tidy(context, extent, "RANGE"),))
    return context.emit(name, (axis,), IndexValue(kind, start + Name(axis.name) * step))


def _float_range(context: Context, name: str, bounds: Sequence[int | float], dtype: str) -> Operand:
    start, end, step = _float_bounds(bounds)
    (axis,) = context.axes((Int(math.ceil((end - start) / step)),))
    scaled = apply("mul", IndexValue(dtype, Name(axis.name)), constant(step, dtype))
    value = apply("add", constant(start, dtype), scaled, name=name)
    return context.emit(name, (axis,), value)


def _float_bounds(bounds: Sequence[int | float]) -> tuple[float, float, float]:
    start, end = (0.0, bounds[0]) if len(bounds) == 1 else bounds[:2]
    return start, end, bounds[2] if len(bounds) > 2 else 1.0


@lowers("aten.eye.default", "aten.eye.m")
def _eye(
    context: Context, name: str, rows: int, cols: int | None = None, *, dtype: Any = None, **_: Any
) -> Operand:
    height = context.literal(0)
    width = context.literal(1) if cols is not None else height
    axes = context.axes((height, width))
    here = apply("eq", _place(axes[0]), _place(axes[1]))
    kind = _dtype(dtype, "float32")
    one, zero = constant(1, kind), constant(0, kind)
    return context.emit(name, axes, apply("where", here, one, zero, name=name))

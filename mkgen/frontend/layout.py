"""Layout: the same elements seen in another shape or order, or repeated.

A reshape is a view: nothing is emitted. The others are pointwise nests of one load, which fusion
writes into whatever reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mkgen.expression import Call, Expression, Int, Name, evaluate, product
from mkgen.frontend.context import Context, Operand
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import Axis, IndexValue

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


def part_name(dimension: Expression, word: str) -> str:
    """A name for a part of `dimension`: `W_PART` of `W`, `PART` of what has no name."""
    return f"{dimension.name}_{word}" if isinstance(dimension, Name) else word


def position(context: Context, x: Operand, dimension: int, *path: int | str) -> Expression:
    """The position at `path` of the arguments, counted from the end when it is negative."""
    found = context.literal(*path)
    negative = evaluate(found, context.sizes) < 0
    return x.shape[dimension] + found if negative else found


# Reshapes


def within(context: Context, place: Expression, length: Expression) -> Expression:
    """`place` cut to 0..length, as Python's slices do."""
    if place == length or (
        always(context, place, "<=", length) and always(context, Int(0), "<=", place)
    ):
        return place
    if always(context, length, "<=", place):
        return length
    return named(context, "BOUND", Call("max", (Int(0), Call("min", (place, length)))))


def tidied(context: Context, extent: Expression, wish: str) -> Expression:
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


def place_of(axis: Axis, shift: Expression = Int(0)) -> IndexValue:  # noqa: B008  (frozen)
    """The position along `axis`, plus `shift`, as a value."""
    return IndexValue("int32", Name(axis.name) + shift)


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
        d: named(context, part_name(x.shape[d], "ROLL"), x.shape[d] - shift % x.shape[d])
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


# Repeated


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

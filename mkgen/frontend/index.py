"""Gathers and scatters: an index read from memory is an index expression, so it fuses as any other.

A scatter is computed by the owner of each element of the result, which looks through all sources:
deterministic on every target. Where several sources hit one element, sums add all of them, and of
copies the last one stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mkgen.expression import Expression, Int, Name, product
from mkgen.frontend.context import Context, Operand, apply, cast, constant
from mkgen.frontend.lower import REFUSED, lowers
from mkgen.ir.nest import Axis, Bound, IndexValue, Indirect, Load, Value

_SHAPE = "the shape of its result depends on the data, which a kernel's text cannot"
REFUSED.update(
    {
        "aten.nonzero.default": _SHAPE,
        "aten.masked_select.default": _SHAPE,
        "aten.nonzero_numpy.default": _SHAPE,
        "aten.sort.default": "mkgen has no sorting kernels",
        "aten.sort.stable": "mkgen has no sorting kernels",
        "aten.argsort.default": "mkgen has no sorting kernels",
        "aten.topk.default": "mkgen has no sorting kernels; max, min and argmax are lowered",
    }
)


def _names(axes: Sequence[Axis]) -> tuple[Name, ...]:
    return tuple(Name(a.name) for a in axes)


def _wrapped(position: Value, extent: Expression) -> Indirect:
    """`position`, counted from the end where it is negative."""
    zero = constant(0, position.dtype)
    size = IndexValue(position.dtype, extent)
    from_end = apply("add", position, size)
    return Indirect(apply("where", apply("lt", position, zero), from_end, position))


@lowers("aten.embedding.default")
def _embedding(context: Context, name: str, table: Operand, ids: Operand, *_: Any) -> Operand:
    """table[ids[...], :]."""
    axes = context.axes((*ids.shape, *table.shape[1:]))
    row = ids.at(*(Name(a.name) for a in axes[: len(ids.shape)]))
    rest = (Name(a.name) for a in axes[len(ids.shape) :])
    return context.emit(name, axes, table.at(Indirect(row), *rest), tag="gather")


@lowers("aten.gather.default")
def _gather(context: Context, name: str, x: Operand, dim: int, index: Operand, **_: Any) -> Operand:
    """x[..., index[i, j, k], ...] at dimension `dim`."""
    if not x.shape:
        return context.view(x, index.shape)
    at = dim % len(x.shape)
    axes = context.axes(index.shape)
    place = list(_names(axes))
    here = Indirect(index.at(*place))
    return context.emit(name, axes, x.at(*place[:at], here, *place[at + 1 :]), tag="gather")


@lowers("aten.take_along_dim.default")
def _take_along_dim(
    context: Context, name: str, x: Operand, index: Operand, dim: int | None = None
) -> Operand:
    if dim is None:
        flat = (context.view(t, (product(list(t.shape)),)) for t in (x, index))
        return _gather(context, name, next(flat), 0, next(flat))
    at = dim % len(x.shape)
    # all dimensions but `dim` are broadcast against each other
    sides = [(*t.shape[:at], Int(1), *t.shape[at + 1 :]) for t in (x, index)]
    shape = list(context.broadcast(sides))
    shape[at] = index.shape[at]
    axes = context.axes(shape)
    place = context.read(index, axes)
    source = list(context.read(replace(x, shape=tuple(sides[0])), axes).index)
    source[at] = Indirect(place)
    return context.emit(name, axes, x.at(*source), tag="gather")


@lowers("aten.index_select.default")
def _index_select(context: Context, name: str, x: Operand, dim: int, index: Operand) -> Operand:
    if not x.shape:
        return x
    at = dim % len(x.shape)
    index = context.view(index, index.shape or (Int(1),))
    axes = context.axes((*x.shape[:at], index.shape[0], *x.shape[at + 1 :]))
    place = list(_names(axes))
    here = Indirect(index.at(place[at]))
    return context.emit(name, axes, x.at(*place[:at], here, *place[at + 1 :]), tag="gather")


@lowers("aten.take.default")
def _take(context: Context, name: str, x: Operand, index: Operand) -> Operand:
    """Elements of `x` seen as a vector."""
    flat = context.view(x, (product(list(x.shape)),))
    axes = context.axes(index.shape)
    here = _wrapped(index.at(*_names(axes)), flat.shape[0])
    return context.emit(name, axes, flat.at(here), tag="gather")


# Chosen elements


@lowers(
    "aten.masked_fill.Scalar", "aten.masked_fill.Tensor", "aten.masked_fill_.Scalar",
    "aten.masked_fill_.Tensor",
)  # fmt: skip
def _masked_fill(
    context: Context, name: str, x: Operand, mask: Operand, number: Operand | float
) -> Operand:
    def compute(v: Value, m: Value, n: Value) -> Value:
        return apply("where", m, cast(n, v.dtype), v, name=name)

    return context.pointwise(name, compute, x, mask, number)


@lowers("aten.one_hot.default")
def _one_hot(context: Context, name: str, ids: Operand, classes: int = -1) -> Operand:
    if classes < 0:
        raise context.unsupported(f"{name} without num_classes: {_SHAPE}")
    axes = context.axes((*ids.shape, context.literal(1)))
    *outer, last = _names(axes)
    here = apply("eq", ids.at(*outer), IndexValue("int64", last), name=name)
    return context.emit(name, axes, cast(here, "int64"))


# Advanced indexing


class _Advanced:
    """`x[i, :, j]` with integer tensors: which axes of the result walk what."""

    def __init__(
        self, context: Context, name: str, x: Operand, indices: Sequence[Operand | None]
    ) -> None:
        given = [*indices, *[None] * (len(x.shape) - len(indices))]
        if any(i is not None and i.dtype in ("bool", "uint8") for i in given):
            raise context.unsupported(f"{name} with a boolean mask: {_SHAPE}")
        self.context, self.x, self.given = context, x, given
        self.indexed = [d for d, i in enumerate(given) if i is not None]
        self.shared = context.broadcast([i.shape for i in given if i is not None])
        self.rest = [d for d, i in enumerate(given) if i is None]
        neighbours = self.indexed == list(range(self.indexed[0], self.indexed[-1] + 1))
        self.first = self.indexed[0] if neighbours else 0
        """Where the dimensions of the indices stand in the result."""

    def shape(self) -> tuple[Expression, ...]:
        """The shape of `x[indices]`."""
        kept = [self.x.shape[d] for d in self.rest]
        return (*kept[: self.first], *self.shared, *kept[self.first :])

    def positions(self, axes: Sequence[Axis]) -> dict[int, Indirect]:
        """Per indexed dimension the position read for the shared `axes`."""
        return {
            d: _wrapped(self.context.read(index, axes), self.x.shape[d])
            for d, index in enumerate(self.given)
            if index is not None
        }


@lowers("aten.index.Tensor")
def _index(context: Context, name: str, x: Operand, indices: Sequence[Operand | None]) -> Operand:
    if all(i is None for i in indices):
        return x
    advanced = _Advanced(context, name, x, indices)
    axes = context.axes(advanced.shape())
    first, count = advanced.first, len(advanced.shared)
    found = dict(advanced.positions(axes[first : first + count]))
    kept = iter(_names((*axes[:first], *axes[first + count :])))
    index = [found[d] if d in found else next(kept) for d in range(len(x.shape))]
    return context.emit(name, axes, x.at(*index), tag="gather")


@lowers("aten.index_put_.default", "aten.index_put.default")
def _index_put(
    context: Context,
    name: str,
    x: Operand,
    indices: Sequence[Operand | None],
    values: Operand,
    accumulate: bool = False,
) -> Operand:
    masks = [i for i in indices if i is not None]
    if len(masks) == 1 and masks[0].dtype == "bool":
        return _masked_put(context, name, x, indices, values, accumulate)
    advanced = _Advanced(context, name, x, indices)
    shared = context.axes(advanced.shared, "reduce", context.axes(x.shape))
    axes = context.axes(x.shape)
    place = _names(axes)
    hit: Value | None = None
    for d, position in advanced.positions(shared).items():
        here = apply("eq", position.value, IndexValue(position.value.dtype, place[d]))
        hit = here if hit is None else apply("and", hit, here)
    assert hit is not None
    kept = [place[d] for d in advanced.rest]
    first = advanced.first

    def source(walk: Sequence[Expression]) -> Load:
        """The element of `values` for one point of the indices."""
        index = [*kept[:first], *walk, *kept[first:]]
        shape = advanced.shape()
        own = index[len(index) - len(values.shape) :]
        wide = shape[len(shape) - len(values.shape) :]
        return values.at(
            *(
                Int(0) if context.extent(d) == 1 != context.extent(w) else i
                for d, w, i in zip(values.shape, wide, own, strict=True)
            )
        )

    scatter = _Scatter(context, name, x, axes, shared, hit)
    if accumulate:
        return scatter.added(source(_names(shared)))
    return scatter.copied(source)


def _masked_put(
    context: Context,
    name: str,
    x: Operand,
    indices: Sequence[Operand | None],
    values: Operand,
    accumulate: bool,
) -> Operand:
    """x[mask] = number: the one form of a boolean mask whose sizes do not depend on the data."""
    leading = next(k for k, i in enumerate(indices) if i is not None)
    mask = indices[leading]
    assert mask is not None
    if context.extent(product(list(values.shape))) != 1 or leading:
        raise context.unsupported(f"{name} of several values under a boolean mask: {_SHAPE}")
    ones = (Int(1),) * (len(x.shape) - len(mask.shape))
    mask = context.view(mask, (*mask.shape, *ones))
    number = context.view(values, ())

    def compute(v: Value, m: Value, n: Value) -> Value:
        new = apply("add", v, cast(n, v.dtype)) if accumulate else cast(n, v.dtype)
        return apply("where", m, new, v, name=name)

    return context.pointwise(name, compute, x, mask, number)


# Scatters


class _Scatter:
    """Elements of `x` over `axes`; sources over `walk`, of which those with `hit` are for it."""

    def __init__(
        self,
        context: Context,
        name: str,
        x: Operand,
        axes: Sequence[Axis],
        walk: Sequence[Axis],
        hit: Value,
    ) -> None:
        self.context, self.name, self.x, self.hit = context, name, x, hit
        self.axes, self.walk = tuple(axes), tuple(walk)
        self.place = _names(axes)

    def old(self) -> Load:
        """What is there before."""
        return self.x.at(*self.place)

    def over(self, wish: str, combine: str, value: Value) -> Load:
        """`value` combined over all sources."""
        found = self.context.emit(wish, (*self.axes, *self.walk), value, combine, tag="scatter")
        return found.at(*self.place)

    def store(self, value: Value) -> Operand:
        """The new value of every element."""
        from mkgen.ir.nest import Apply

        rooted = replace(value, name=self.name) if isinstance(value, Apply) else value
        return self.context.emit(self.name, self.axes, rooted)

    def added(self, source: Value, factor: float = 1) -> Operand:
        """The old value and the sum of its sources."""
        total = self.over("added", "sum", self._or(source, 0))
        scaled = total if factor == 1 else apply("mul", total, constant(factor, total.dtype))
        return self.store(apply("add", self.old(), scaled))

    def _or(self, source: Value, neutral: float) -> Value:
        source = cast(source, self.old().dtype)
        return apply("where", self.hit, source, constant(neutral, source.dtype))

    def last(self) -> Load:
        """The number of the last source for each element, counted row by row; -1 for none."""
        number: Expression = Int(0)
        for axis in self.walk:
            number = number * axis.extent + Name(axis.name)
        value = apply("where", self.hit, IndexValue("int32", number), constant(-1, "int32"))
        return self.over("latest", "max", value)

    def copied(self, source: Any) -> Operand:
        """The last source of each element, the old value where there is none.

        `source(places)` is the load of a source from its place along each axis of `walk`.
        """
        last = self.last()
        some = apply("le", constant(0, "int32"), last)
        if len(self.walk) == 1:
            # a place is read whether or not it is taken
            place = Indirect(apply("maximum", last, constant(0, "int32")))
            return self.store(apply("where", some, cast(source([place]), self.old().dtype),
                                    self.old()))  # fmt: skip
        number: Expression = Int(0)
        for axis in self.walk:
            number = number * axis.extent + Name(axis.name)
        is_last = apply("eq", IndexValue("int32", number), last)
        self.hit = is_last
        chosen = self.over("chosen", "sum", self._or(source(_names(self.walk)), 0))
        return self.store(apply("where", some, chosen, self.old()))

    def filled(self, number: Value) -> Operand:
        """`number` where there is a source."""
        some = apply("le", constant(0, "int32"), self.last())
        old = self.old()
        return self.store(apply("where", some, cast(number, old.dtype), old))

    def reduced(self, source: Value, reduce: str, include_self: bool) -> Operand:
        """The sources combined by `reduce`, with the old value or without."""
        old = self.old()
        combine = {"amax": "max", "amin": "min", "prod": "prod"}.get(reduce, "sum")
        neutral = {"max": _lowest(old.dtype), "min": _highest(old.dtype), "prod": 1, "sum": 0}
        found = self.over("combined", combine, self._or(source, neutral[combine]))
        word = {"max": "maximum", "min": "minimum", "prod": "mul", "sum": "add"}[combine]
        whole = apply(word, old, found) if include_self else found
        if include_self and reduce != "mean":
            return self.store(whole)
        one, zero = constant(1, "int32"), constant(0, "int32")
        count = self.over("count", "sum", cast(apply("where", self.hit, one, zero), "int64"))
        if reduce == "mean":
            own = constant(int(include_self), "int64")
            divisor = apply("maximum", apply("add", count, own), constant(1, "int64"))
            whole = apply("div", whole, cast(divisor, old.dtype))
        some = apply("lt", constant(0, "int64"), count)
        return self.store(apply("where", some, whole, old))


def _lowest(dtype: str) -> float | int:
    return -math.inf if "float" in dtype else -_largest(dtype) - 1


def _highest(dtype: str) -> float | int:
    return math.inf if "float" in dtype else _largest(dtype)


def _largest(dtype: str) -> int:
    import numpy as np

    return int(np.iinfo(dtype).max)


def _along(
    context: Context, name: str, x: Operand, dim: int, index: Operand
) -> tuple[_Scatter, tuple[Expression, ...]]:
    """A scatter along one dimension: an index for every source. Also where a source is read."""
    at = dim % len(x.shape)
    axes = context.axes(x.shape)
    walk = context.axes((index.shape[at],), "reduce", axes)
    place = list(_names(axes))
    where: tuple[Expression, ...] = (*place[:at], Name(walk[0].name), *place[at + 1 :])
    load = index.at(*where)
    # an index may be shorter than x in the other dimensions: beyond it nothing is scattered
    guard = tuple(
        Bound(Name(a.name), extent)
        for d, (a, extent) in enumerate(zip(axes, index.shape, strict=True))
        if d != at and extent != a.extent
    )
    if guard:
        load = replace(load, guard=guard, other=-1.0)
    hit = apply("eq", load, IndexValue(index.dtype, place[at]))
    return _Scatter(context, name, x, axes, walk, hit), where


def _source(source: Operand, where: Sequence[Expression], scatter: _Scatter, at: int) -> Load:
    """One source; where the result is larger than the sources, nothing is read beyond them."""
    guard = tuple(
        Bound(Name(a.name), extent)
        for d, (a, extent) in enumerate(zip(scatter.axes, source.shape, strict=True))
        if d != at and extent != a.extent
    )
    load = source.at(*where)
    return replace(load, guard=guard, other=0.0) if guard else load


@lowers("aten.scatter_add.default", "aten.scatter_add_.default")
def _scatter_add(
    context: Context, name: str, x: Operand, dim: int, index: Operand, source: Operand
) -> Operand:
    scatter, where = _along(context, name, x, dim, index)
    return scatter.added(_source(source, where, scatter, dim % len(x.shape)))


@lowers(
    "aten.scatter.src", "aten.scatter.value", "aten.scatter_.src", "aten.scatter_.value"
)  # fmt: skip
def _scatter(
    context: Context,
    name: str,
    x: Operand,
    dim: int,
    index: Operand,
    source: Operand | float | None = None,
    *,
    src: Operand | None = None,
    value: float = 0,
) -> Operand:
    given = src if source is None and src is not None else source
    scatter, where = _along(context, name, x, dim, index)
    if not isinstance(given, Operand):
        number = value if given is None else given
        return scatter.filled(constant(number, scatter.old().dtype))
    at, operand = dim % len(x.shape), given

    def read(walk: Sequence[Expression]) -> Load:
        return _source(operand, (*where[:at], walk[0], *where[at + 1 :]), scatter, at)

    return scatter.copied(read)


@lowers("aten.scatter_reduce.two", "aten.scatter_reduce_.two")
def _scatter_reduce(
    context: Context,
    name: str,
    x: Operand,
    dim: int,
    index: Operand,
    source: Operand,
    reduce: str,
    *,
    include_self: bool = True,
) -> Operand:
    scatter, where = _along(context, name, x, dim, index)
    load = _source(source, where, scatter, dim % len(x.shape))
    return scatter.reduced(load, reduce, include_self)


def _by_vector(
    context: Context, name: str, x: Operand, dim: int, index: Operand
) -> tuple[_Scatter, tuple[Expression, ...], int]:
    """A scatter of whole slices: one index for each. Also where a source is read, and `dim`."""
    at = dim % len(x.shape)
    axes = context.axes(x.shape)
    index = context.view(index, index.shape or (Int(1),))
    walk = context.axes(index.shape, "reduce", axes)
    place = _names(axes)
    step = Name(walk[0].name)
    hit = apply("eq", index.at(step), IndexValue(index.dtype, place[at]))
    where = (*place[:at], step, *place[at + 1 :])
    return _Scatter(context, name, x, axes, walk, hit), where, at


@lowers("aten.index_add.default", "aten.index_add_.default")
def _index_add(
    context: Context,
    name: str,
    x: Operand,
    dim: int,
    index: Operand,
    source: Operand,
    *,
    alpha: float = 1,
) -> Operand:
    scatter, where, _ = _by_vector(context, name, x, dim, index)
    return scatter.added(source.at(*where), alpha)


@lowers("aten.index_copy.default", "aten.index_copy_.default")
def _index_copy(
    context: Context, name: str, x: Operand, dim: int, index: Operand, source: Operand
) -> Operand:
    scatter, where, at = _by_vector(context, name, x, dim, index)
    return scatter.copied(lambda walk: source.at(*where[:at], walk[0], *where[at + 1 :]))


@lowers(
    "aten.index_fill.int_Scalar", "aten.index_fill.int_Tensor", "aten.index_fill_.int_Scalar",
    "aten.index_fill_.int_Tensor",
)  # fmt: skip
def _index_fill(
    context: Context, name: str, x: Operand, dim: int, index: Operand, number: Operand | float
) -> Operand:
    scatter, _, _ = _by_vector(context, name, x, dim, index)
    dtype = scatter.old().dtype
    value = context.view(number, ()).at() if isinstance(number, Operand) else None
    return scatter.filled(constant(number, dtype) if value is None else value)  # type: ignore[arg-type]

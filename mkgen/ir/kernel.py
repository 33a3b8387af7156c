"""Kernels: groups of nests that run as one launch, in the forms that templates know."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mkgen.expression import Expression, Name, product
from mkgen.ir.nest import (
    Axis,
    Graph,
    Indirect,
    Load,
    Store,
    Value,
    index_names,
    loads,
    map_value,
    value_names,
)  # fmt: skip

#: pointwise: one value per element. rowwise: reductions over the columns of rows, then values per
#: row or per element. contraction: a sum of products with an epilogue. window: a small reduction
#: per element; also the fallback for any reduction no other form takes. scan: a running combine
#: along one axis (`cols`), then a value per element.
KernelKind = Literal["pointwise", "rowwise", "contraction", "window", "scan"]


@dataclass(frozen=True)
class Reduction:
    """`result = combine over the reduced axes of value`."""

    result: str
    dtype: str
    combine: str
    value: Value


@dataclass(frozen=True)
class Kernel:
    """One launch. Axes by group; which groups are used depends on `kind`."""

    kind: KernelKind
    name: str
    rows: tuple[Axis, ...]
    """Parallel axes; for a contraction those of the left operand only."""
    cols: tuple[Axis, ...] = ()
    """rowwise: the reduced axes. contraction: parallel axes of the right operand only. scan: the
    axis it runs along."""
    depth: tuple[Axis, ...] = ()
    """contraction, window: the reduced axes."""
    batch: tuple[Axis, ...] = ()
    """contraction: parallel axes of both operands."""
    space: tuple[Axis, ...] = ()
    """Parallel axes in the order of the result's dimensions (not for rowwise)."""
    reductions: tuple[Reduction, ...] = ()
    stores: tuple[Store, ...] = ()
    """What is written, one element per point of the parallel space (rowwise: rows x cols)."""
    row_stores: tuple[Store, ...] = ()
    """rowwise: what is written once per row."""
    tag: str = ""
    loop: str = ""
    """The loop it runs in, once a round; its accesses are then to slices."""

    def values(self) -> tuple[Value, ...]:
        """Every value the kernel computes, in order."""
        return (
            *(r.value for r in self.reductions),
            *(s.value for s in (*self.row_stores, *self.stores)),
        )

    def reads(self) -> tuple[str, ...]:
        """Tensors loaded from memory, in order of first use."""
        own = {r.result for r in self.reductions}
        found = (load.tensor for value in self.values() for load in loads(value))
        return tuple(dict.fromkeys(t for t in found if t not in own))

    def writes(self) -> tuple[str, ...]:
        """Tensors stored to memory, in order."""
        return tuple(s.tensor for s in (*self.row_stores, *self.stores))


#: Roles of the tensors a launcher is given.
GIVEN = ("input", "parameter", "state")


def extent(axes: tuple[Axis, ...]) -> Expression:
    """The number of points of `axes`."""
    return product([a.extent for a in axes])


def arguments(kernel: Kernel, graph: Graph) -> tuple[str, ...]:
    """Buffers in the order of the kernel's parameters: as the task names them, then outputs."""
    reads = set(kernel.reads())
    inputs = [n for n, t in graph.tensors.items() if n in reads and t.role in GIVEN]
    rest = [n for n in kernel.reads() if n not in inputs]
    return (*inputs, *rest, *(w for w in kernel.writes() if w not in reads))


def merge_axes(kernel: Kernel, keep_last: bool = False) -> Kernel:
    """Neighbouring axes that every access walks as one become one: fewer divisions, wider rows.

    With `keep_last` the fastest axis of a pointwise kernel stays its own: a block dialect tiles it.
    """
    groups = {"pointwise": ["rows"], "rowwise": ["rows", "cols"], "scan": ["rows"]}.get(
        kernel.kind, []
    )
    for group in groups:
        axes: tuple[Axis, ...] = getattr(kernel, group)
        position = 0
        spared = 1 if keep_last and kernel.kind == "pointwise" else 0
        while position + 1 < len(axes) - spared:
            merged = _merge(kernel, axes[position], axes[position + 1])
            if merged is None:
                position += 1
                continue
            kernel, axis = merged
            axes = (*axes[:position], axis, *axes[position + 2 :])
            kernel = replace(kernel, **{group: axes})  # type: ignore[arg-type]
    return kernel


Place = tuple[tuple[Expression, ...], tuple[Expression, ...]]


def _merged_place(place: Place, outer: Axis, inner: Axis, one: Axis) -> Place | None:
    """Shape and index with `one` for two neighbours; None where those do not lie together."""
    shape, index = place
    used = [i for i, part in enumerate(index) if index_names(part) & {outer.name, inner.name}]
    if not used:
        return shape, index
    first = used[0]
    fits = (
        len(used) == 2
        and used[1] == first + 1
        and index[first] == Name(outer.name)
        and index[first + 1] == Name(inner.name)
        and shape[first + 1] == inner.extent
        and shape[first] == outer.extent
    )
    if not fits:
        return None
    return (
        (*shape[:first], one.extent, *shape[first + 2 :]),
        (*index[:first], Name(one.name), *index[first + 2 :]),
    )


def _merge(kernel: Kernel, outer: Axis, inner: Axis) -> tuple[Kernel, Axis] | None:
    pair = {outer.name, inner.name}
    others = {a.name for a in (*kernel.rows, *kernel.cols, *kernel.depth)} - pair
    wish = next(n for n in ("i", "j", "k", "ij", "ijk") if n not in others)
    axis = Axis(wish, outer.extent * inner.extent, outer.kind)
    failed = False

    def change(value: Value) -> Value | None:
        nonlocal failed
        if not isinstance(value, Load):
            failed = failed or (not value.children() and bool(value_names(value) & pair))
            return None
        if any(index_names(b.index) & pair for b in value.guard) or any(
            index_names(i) & pair for i in value.index if not _is_direct(i)
        ):
            failed = True
            return value
        seen = _merged_place((value.shape, value.index), outer, inner, axis)
        if seen is None:
            failed = True
            return value
        return replace(value, shape=seen[0], index=seen[1])

    def change_store(store: Store) -> Store:
        nonlocal failed
        seen = _merged_place((store.shape, store.index), outer, inner, axis)
        if seen is None:
            failed = True
            return store
        return replace(store, shape=seen[0], index=seen[1], value=map_value(store.value, change))

    reductions = tuple(replace(r, value=map_value(r.value, change)) for r in kernel.reductions)
    stores = tuple(change_store(s) for s in kernel.stores)
    row_stores = tuple(change_store(s) for s in kernel.row_stores)
    if failed:
        return None
    return replace(kernel, reductions=reductions, stores=stores, row_stores=row_stores), axis


def _is_direct(index: Expression) -> bool:
    return not isinstance(index, Indirect)

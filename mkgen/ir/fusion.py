"""Groups nests into kernels.

Pointwise nests are inlined into whatever loads them; what follows a reduction or a contraction
joins it as epilogue; reductions over the same rows and columns become one row-wise kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mkgen.expression import Name
from mkgen.ir.kernel import Kernel, Reduction, merge_axes
from mkgen.ir.naming import is_update, with_short_names
from mkgen.ir.nest import (
    Apply,
    Axis,
    Constant,
    Graph,
    Indirect,
    Load,
    Loop,
    Nest,
    Store,
    Value,
    loads,
    map_value,
    round_body,
    substitute_index,
    substitute_value,
    value_names,
    walk_value,
)  # fmt: skip
from mkgen.ir.views import regroup

#: Operations whose result is no negative number; NaN it may be.
_NEVER_NEGATIVE = ("abs", "exp", "sqrt", "sigmoid")


def fuse(graph: Graph, keep_last: bool = False, stacks: bool = False) -> tuple[Kernel, ...]:
    """The kernels of `graph`, in an order that respects their data.

    `keep_last`: the dialect tiles the fastest axis, so it is not merged into others. `stacks`: its
    loop keeps the parts of a round itself (jax.lax.scan), so no kernel writes into a slice.
    """
    kernels: list[Kernel] = []
    segment: list[Nest] = []
    for part in _inline(graph):
        if isinstance(part, Nest):
            segment.append(part)
            continue
        kernels += [*_segment(segment, keep_last), *_loop_kernels(part, stacks)]
        segment = []
    kernels += _segment(segment, keep_last)
    consumed = _consumed_outside(kernels) | set(graph.outputs)
    made = [merge_axes(_keep_results(k, consumed), keep_last) for k in kernels]
    return with_short_names(made)


def _segment(nests: list[Nest], keep_last: bool) -> list[Kernel]:
    """Kernels of nests between which there is no loop; those of one pass over the same data once.

    An optimiser reads a gradient once for all that it updates. Not for a dialect of blocks, whose
    calls have one result.
    """
    kernels = _group(nests)
    return kernels if keep_last else _merge_pointwise(kernels, sharing=True)


def _group(nests: list[Nest]) -> list[Kernel]:
    kernels: list[Kernel] = []
    for nest in nests:
        home = _home(nest, kernels)
        if home is None:
            kernels.append(_open(nest))
        else:
            kernels[home] = _join(kernels[home], nest)
    return kernels


def _loop_kernels(loop: Loop, stacks: bool) -> list[Kernel]:
    """Kernels of one round, over slices."""
    kernels = _group(list(round_body(loop)))
    if not stacks:
        for array, part in loop.collected:
            kernels = [_collect(k, array, part) for k in kernels]
        kernels = _merge_pointwise(kernels)
    return [replace(k, loop=loop.name) for k in kernels]


def _collect(kernel: Kernel, array: str, part: str) -> Kernel:
    """`kernel` writing what it stores to `part` to its slice of `array` too."""
    extra = [replace(s, tensor=array) for s in kernel.stores if s.tensor == part]
    return replace(kernel, stores=(*kernel.stores, *extra))


def _merge_pointwise(kernels: list[Kernel], sharing: bool = False) -> list[Kernel]:
    """Neighbouring pointwise kernels over the same points as one with several stores.

    `sharing`: only where both read the same tensor, or one reads what the other wrote.
    """
    merged: list[Kernel] = []
    for kernel in kernels:
        last = merged[-1] if merged else None
        near = last and {*last.reads(), *last.writes()} & {*kernel.reads()}
        joined = _both(last, kernel) if last and (near or not sharing) else None
        if joined is None:
            merged.append(kernel)
        else:
            merged[-1] = joined
    return merged


def _both(first: Kernel, second: Kernel) -> Kernel | None:
    """`second` in `first`, when a point of it reads what the same point of `first` wrote."""
    if first.kind != "pointwise" or second.kind != "pointwise":
        return None
    if [a.extent for a in first.rows] != [a.extent for a in second.rows]:
        return None
    names = {b.name: Name(a.name) for a, b in zip(first.rows, second.rows, strict=True)}
    written = {s.tensor: s for s in first.stores}
    changed = set(second.writes()) & set(first.reads())
    if any(x.tensor in changed for s in first.stores for x in loads(s.value)):
        return None  # what is overwritten in place may still be read by a neighbour
    stores = []
    for store in second.stores:
        value = substitute_value(store.value, names)
        known_here = [(x, written[x.tensor]) for x in loads(value) if x.tensor in written]
        if any((x.shape, x.index) != (s.shape, s.index) for x, s in known_here):
            return None
        known: dict[Value, Value] = {
            x: written[x.tensor].value for x in loads(value) if x.tensor in written
        }
        index = tuple(substitute_index(i, names) for i in store.index)
        stores.append(replace(store, value=_substituted(value, known), index=index))
    return replace(first, name=second.name, stores=(*first.stores, *stores))


def _substituted(value: Value, known: Mapping[Value, Value]) -> Value:
    def change(node: Value) -> Value | None:
        return known.get(node)

    return map_value(value, change)


def _inline(graph: Graph) -> list[Nest | Loop]:
    """Every nest with the pointwise nests it loads computed in place, those then dropped.

    Into a loop only its own nests are inlined, and none of them leaves it.
    """
    pinned = _pinned(graph)
    known: dict[str, Nest] = {}
    kept: list[Nest | Loop] = []
    for part in graph.nests:
        if isinstance(part, Loop):
            body = _inline_nests(part.body, {}, pinned, ())
            kept.append(replace(part, body=tuple(body)))
        else:
            kept += _inline_nests((part,), known, pinned, graph.outputs)
    return kept


def _inline_nests(
    nests: Sequence[Nest], known: dict[str, Nest], pinned: set[str], outputs: Sequence[str]
) -> list[Nest]:
    kept: list[Nest] = []
    for nest in nests:
        value = map_value(_expand(nest.store.value, known), _power)
        nest = replace(nest, store=replace(nest.store, value=value))
        kept_apart = nest.store.tensor in pinned or nest.tag == "update"
        inlinable = nest.store.combine is None and not kept_apart
        if inlinable:
            known[nest.store.tensor] = nest
        if not inlinable or nest.store.tensor in outputs:
            kept.append(nest)
    return kept


def _power(value: Value) -> Value | None:
    """x^1.5 and x^2.5 by a square root, where x is known to be no negative number.

    pow loses digits with the size of its result's exponent; of -inf the product would be NaN.
    """
    if not (isinstance(value, Apply) and value.operation == "pow"):
        return None
    base, exponent = value.args
    if not (isinstance(exponent, Constant) and exponent.value in (1.5, 2.5)):
        return None
    if not (isinstance(base, Apply) and base.operation in _NEVER_NEGATIVE):
        return None
    base = map_value(base, _power)
    made = Apply(value.dtype, "mul", (base, Apply(value.dtype, "sqrt", (base,))))
    return made if exponent.value == 1.5 else Apply(value.dtype, "mul", (made, base))


def inlined(graph: Graph, wanted: Sequence[Nest]) -> list[Nest | Loop]:
    """The nests of `graph`; those `wanted` have the pointwise nests they load computed in place."""
    pinned, known = _pinned(graph), dict[str, Nest]()
    made: list[Nest | Loop] = []
    for nest in graph.nests:
        if isinstance(nest, Loop):
            made.append(nest)
            continue
        value = _expand(nest.store.value, known)
        full = replace(nest, store=replace(nest.store, value=value))
        if nest.store.combine is None and nest.store.tensor not in pinned:
            known[nest.store.tensor] = full
        made.append(full if nest in wanted else nest)
    return made


def _pinned(graph: Graph) -> set[str]:
    """Tensors that must lie in memory: loaded under a guard, or as an index, or via one.

    Also what a product or a scan would compute again for every element it is used in, unless it
    is only a layout of something else; and what crosses the border of a loop.
    """
    pinned: set[str] = set()
    for part in graph.nests:
        if isinstance(part, Loop):
            own = {n.store.tensor for n in part.body}
            read = {x.tensor for n in part.body for x in loads(n.store.value)}
            pinned |= (read - own) | {t for pair in (*part.carried, *part.collected) for t in pair}
    # what already lies in memory hides what it was made of
    made = {n.store.tensor: n for n in graph.flat_nests() if n.store.tensor not in pinned}
    for nest in graph.flat_nests():
        if nest.tag in ("matmul", "conv"):
            pinned |= _computed(nest, made)
        for value in walk_value(nest.store.value):
            if isinstance(value, Load):
                if value.guard and not _reaches_memory(value.tensor, made):
                    pinned.add(value.tensor)
                if any(isinstance(i, Indirect) for i in value.index):
                    pinned.add(value.tensor)
                for index in value.index:
                    if isinstance(index, Indirect):
                        pinned |= {x.tensor for x in loads(index.value)}
    return pinned


def _computed(nest: Nest, made: Mapping[str, Nest]) -> set[str]:
    """What `nest` loads that is arithmetic, looking through layouts."""
    found: set[str] = set()
    for load in loads(nest.store.value):
        maker = made.get(load.tensor)
        if maker is None or maker.store.combine is not None:
            continue
        found |= _computed(maker, made) if _is_layout(maker) else {load.tensor}
    return found


def _is_layout(nest: Nest) -> bool:
    return isinstance(nest.store.value, Load) and not nest.store.value.guard


def _reaches_memory(tensor: str, made: Mapping[str, Nest]) -> bool:
    """Whether a guarded load of `tensor` is one of something in memory, through layouts alone.

    Not through a guarded one, which has a value of its own for what lies outside, and not through
    arithmetic, which a guard of a load cannot hold back.
    """
    maker = made.get(tensor)
    if maker is None or maker.store.combine is not None:
        return True
    value = maker.store.value
    if not isinstance(value, Load) or value.guard:
        return False
    if any(isinstance(i, Indirect) for i in value.index):
        return False
    return _reaches_memory(value.tensor, made)


def _expand(value: Value, known: Mapping[str, Nest]) -> Value:
    def change(node: Value) -> Value | None:
        if isinstance(node, Load) and node.tensor in known:
            nest = known[node.tensor]
            seen = regroup(node.shape, node.index, nest.store.shape)
            replacements = {
                part.name: index
                for part, index in zip(nest.store.index, seen, strict=True)
                if isinstance(part, Name)
            }
            made = substitute_value(nest.store.value, replacements)
            if node.guard:  # what _pinned leaves is a plain load of memory
                assert isinstance(made, Load) and not made.guard, node.tensor
                made = replace(made, guard=node.guard, other=node.other)
            return made
        return None

    return map_value(value, change)


def _open(nest: Nest) -> Kernel:
    parallel, reduced = nest.of_kind("parallel"), nest.of_kind("reduce")
    store = nest.store
    if store.combine is None:
        return Kernel(
            "pointwise", nest.name, parallel, space=parallel, stores=(store,), tag=nest.tag
        )
    reduction = Reduction(store.tensor, store.value.dtype, store.combine, store.value)
    if along := nest.of_kind("scan"):
        space = tuple(a for a in nest.axes if a.kind != "reduce")
        return Kernel("scan", nest.name, parallel, along, (), (), space, (reduction,), tag=nest.tag)
    if nest.tag in ("matmul", "conv"):
        split = _operands(nest)
        if split is not None:
            batch, rows, cols = split
            return Kernel(
                "contraction", nest.name, rows, cols, reduced, batch, parallel, (reduction,),
                tag=nest.tag,
            )  # fmt: skip
    if nest.tag == "reduce":
        return Kernel("rowwise", nest.name, parallel, reduced, reductions=(reduction,))
    return Kernel(
        "window", nest.name, parallel, depth=reduced, space=parallel, reductions=(reduction,),
        tag=nest.tag,
    )  # fmt: skip


def _operands(nest: Nest) -> tuple[tuple[Axis, ...], tuple[Axis, ...], tuple[Axis, ...]] | None:
    """Parallel axes of both operands, of the one that gives rows, of the one that gives columns.

    Columns are the side that holds the fastest axis of the result, so that stores coalesce.
    """
    left, right = nest.store.value.children()
    sides = [value_names(left), value_names(right)]
    parallel = nest.of_kind("parallel")
    batch = tuple(a for a in parallel if a.name in sides[0] and a.name in sides[1])
    own = [tuple(a for a in parallel if a.name in side and a not in batch) for side in sides]
    if not own[0] or not own[1]:
        return None
    fastest = parallel[-1]
    cols = own[0] if fastest in own[0] else own[1]
    rows = own[1] if cols is own[0] else own[0]
    return batch, rows, cols


@dataclass
class _Match:
    """How a nest's axes correspond to those of a kernel."""

    names: dict[str, str]
    per_row: bool


def _home(nest: Nest, kernels: list[Kernel]) -> int | None:
    """The kernel `nest` can join: one that computes something it loads, axes permitting."""
    if not kernels:
        return None
    needed = {load.tensor for load in loads(nest.store.value)}
    written = {t: i for i, k in enumerate(kernels) for t in k.writes()}
    producers = {
        r.result: i for i, k in enumerate(kernels) for r in k.reductions if r.result in needed
    }
    if producers:
        home = max(producers.values())
        later = [written[t] for t in needed if t in written]
        if any(i >= home for i in later) or _match(nest, kernels[home]) is None:
            return None
        if any(nest.store.tensor in k.reads() for k in kernels[home:]):
            return None  # state: the old value is still wanted
        return home  # what earlier kernels produced lies in memory by then
    last = len(kernels) - 1  # a second reduction over the same rows, of the same data
    same = kernels[last].kind == "rowwise" and nest.tag == "reduce"
    shared = needed & set(kernels[last].reads())
    return last if same and shared and _match(nest, kernels[last]) else None


def _match(nest: Nest, kernel: Kernel) -> _Match | None:
    parallel, reduced = nest.of_kind("parallel"), nest.of_kind("reduce")
    if kernel.kind == "rowwise":
        return _match_rowwise(nest, kernel, parallel, reduced)
    if nest.store.combine is not None:
        return None
    whole = kernel.space
    if [a.extent for a in parallel] != [a.extent for a in whole]:
        return None
    names = {a.name: b.name for a, b in zip(parallel, whole, strict=True)}
    return _Match(names, False) if _loads_in_place(nest, kernel, names) else None


def _match_rowwise(
    nest: Nest, kernel: Kernel, parallel: tuple[Axis, ...], reduced: tuple[Axis, ...]
) -> _Match | None:
    row_extents = [a.extent for a in kernel.rows]
    col_extents = [a.extent for a in kernel.cols]
    if nest.store.combine is not None:
        rows, cols = list(parallel), list(reduced)
    else:
        results = {r.result for r in kernel.reductions}
        row_names: list[str] = []
        for load in loads(nest.store.value):
            if load.tensor in results:
                row_names = [i.name for i in load.index if isinstance(i, Name)]
        rows = [a for a in parallel if a.name in row_names]
        cols = [a for a in parallel if a.name not in row_names]
        if not cols and [a.extent for a in rows] == row_extents:
            names = {a.name: b.name for a, b in zip(rows, kernel.rows, strict=True)}
            return _Match(names, True) if _loads_in_place(nest, kernel, names) else None
    if [a.extent for a in rows] != row_extents or [a.extent for a in cols] != col_extents:
        return None
    names = {
        a.name: b.name for a, b in zip((*rows, *cols), (*kernel.rows, *kernel.cols), strict=True)
    }
    return _Match(names, False) if _loads_in_place(nest, kernel, names) else None


def _loads_in_place(nest: Nest, kernel: Kernel, names: Mapping[str, str]) -> bool:
    """Whether every result of the kernel is read by the thread group that computed it."""
    results = {r.result for r in kernel.reductions}
    axes = result_axes(kernel)
    replacements = {old: Name(new) for old, new in names.items()}
    for load in loads(nest.store.value):
        if load.tensor in results:
            index = tuple(substitute_index(i, replacements) for i in load.index)
            got = regroup(load.shape, index, tuple(a.extent for a in axes))
            if got != tuple(Name(a.name) for a in axes):
                return False
    return True


def result_axes(kernel: Kernel) -> tuple[Axis, ...]:
    """The axes that the results of the kernel's reductions have, in order."""
    return kernel.rows if kernel.kind == "rowwise" else kernel.space


def _as_computed(value: Value, kernel: Kernel) -> Value:
    """`value` with the kernel's own results read under the shape they were computed in."""
    results = {r.result for r in kernel.reductions}
    axes = result_axes(kernel)

    def change(node: Value) -> Value | None:
        if not isinstance(node, Load) or node.tensor not in results:
            return None
        index = tuple(Name(a.name) for a in axes)
        return replace(node, shape=tuple(a.extent for a in axes), index=index)

    return map_value(value, change)


def _join(kernel: Kernel, nest: Nest) -> Kernel:
    match = _match(nest, kernel)
    assert match is not None
    replacements = {old: Name(new) for old, new in match.names.items()}
    value = _as_computed(substitute_value(nest.store.value, replacements), kernel)
    if nest.store.combine is not None:
        reduction = Reduction(nest.store.tensor, value.dtype, nest.store.combine, value)
        return replace(kernel, reductions=(*kernel.reductions, reduction))
    index = tuple(substitute_index(i, replacements) for i in nest.store.index)
    store = replace(nest.store, value=value, index=index)
    # softmax, not its first sum; but a layer is not called after the state that it updates
    renames = kernel.kind == "rowwise" and not is_update(nest.name)
    name = nest.name if renames else kernel.name
    if match.per_row:
        return replace(kernel, name=name, row_stores=(*kernel.row_stores, store))
    return replace(kernel, name=name, stores=(*kernel.stores, store))


def _consumed_outside(kernels: list[Kernel]) -> set[str]:
    return {t for k in kernels for t in k.reads()}


def _keep_results(kernel: Kernel, consumed: set[str]) -> Kernel:
    """Adds a store for every reduction result that is an output or read by another kernel."""
    stores, row_stores = kernel.stores, kernel.row_stores
    for reduction in kernel.reductions:
        if reduction.result not in consumed:
            continue
        axes = result_axes(kernel)
        # the kernel's own dimensions: an output may be seen with others
        shape, index = tuple(a.extent for a in axes), tuple(Name(a.name) for a in axes)
        load = Load(reduction.dtype, reduction.result, shape, index)
        store = Store(reduction.result, shape, index, load)
        if kernel.kind == "rowwise":
            row_stores = (store, *row_stores)
        else:
            stores = (store, *stores)
    return replace(kernel, stores=stores, row_stores=row_stores)

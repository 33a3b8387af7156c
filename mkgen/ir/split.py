"""Splits a reduction of a whole tensor to one number into two: partial results, then the rest.

One work-group over 10^8 elements would leave a device idle. The rule looks at structure only, so
that one text serves all sizes: how many parts there are, and how long, are named sizes.
"""

from __future__ import annotations

import math
from dataclasses import replace

from mkgen.expression import Call, Expression, Int, Name, ceil_div, product
from mkgen.ir.fusion import inlined
from mkgen.ir.nest import (
    Apply,
    Axis,
    Bound,
    Constant,
    Graph,
    IndexValue,
    Load,
    Loop,
    Nest,
    Store,
    TensorInfo,
    Value,
    map_value,
    substitute_value,
)  # fmt: skip

#: At most so many partial results: what one work-group combines at once.
MOST_PARTS = 1024
#: Elements of a part, at least (but for the rounding up). No multiple of a work-group's size, so
#: that small sizes show the tails of the loops too.
SHORTEST_PART = 600


def split_whole(graph: Graph) -> Graph:
    """`graph` with every reduction of a whole tensor of the task's highest rank in two steps."""
    rank = max((len(t.shape) for t in graph.tensors.values() if t.role == "input"), default=0)
    tensors, derived = dict(graph.tensors), dict(graph.derived)
    nests: list[Nest | Loop] = []
    wanted = [n for n in graph.nests if isinstance(n, Nest) and _is_whole(n, rank)]
    for nest in inlined(graph, wanted):
        if isinstance(nest, Nest) and _is_whole(nest, rank):
            nests += _split(nest, tensors, derived)
        else:
            nests.append(nest)
    return Graph(graph.name, tensors, nests, graph.outputs, derived)


def _is_whole(nest: Nest, rank: int) -> bool:
    store = nest.store
    whole = bool(nest.axes) and all(a.kind == "reduce" for a in nest.axes)
    if not whole or nest.tag != "reduce" or len(nest.axes) < rank or store.combine is None:
        return False
    return _neutral(store.combine, store.value.dtype) is not None


def _neutral(combine: str, dtype: str) -> Constant | None:
    """What changes nothing when it is combined; None where no literal does."""
    if combine in ("sum", "prod"):
        number: float = 0 if combine == "sum" else 1
        return Constant(dtype, float(number) if "float" in dtype else number)
    if "float" in dtype:
        return Constant(dtype, -math.inf if combine == "max" else math.inf)
    if combine == "min":
        return Constant(dtype, 2 ** (63 if dtype == "int64" else 31) - 1)
    return None  # C writes the lowest integer only as a difference


def _fresh(wish: str, taken: set[str]) -> str:
    name, count = wish, 1
    while name.lower() in {t.lower() for t in taken}:
        count += 1
        name = f"{wish}{count}"
    return name


def _split(
    nest: Nest, tensors: dict[str, TensorInfo], derived: dict[str, Expression]
) -> list[Nest]:
    """Partial results over equal stretches of the elements in row-major order; then their own."""
    store = nest.store
    assert store.combine is not None
    count = product([a.extent for a in nest.axes])
    parts, length = _sizes(count, tensors, derived)
    name = _fresh(f"{store.tensor}_parts", set(tensors))
    tensors[name] = TensorInfo(name, store.value.dtype, (parts,), "temporary")
    stretch, item = Axis("stretch", parts), Axis("i", length, "reduce")
    position = Name(stretch.name) * length + Name(item.name)
    value = _at(store.value, nest.axes, position, count)
    inside = Apply("bool", "lt", (_index(position), _index(count)))
    neutral = _neutral(store.combine, store.value.dtype)
    assert neutral is not None
    guarded = Apply(value.dtype, "where", (inside, value, neutral))
    index = (Name(stretch.name),)
    partial = Nest(
        name, (stretch, item), Store(name, (parts,), index, guarded, store.combine), nest.tag
    )
    rest = Load(store.value.dtype, name, (parts,), index)
    whole = replace(nest, axes=(replace(stretch, kind="reduce"),), store=replace(store, value=rest))
    return [partial, whole]


def _sizes(
    count: Expression, tensors: dict[str, TensorInfo], derived: dict[str, Expression]
) -> tuple[Name, Name]:
    """Names for how many parts there are and how long one is; shared by equal counts."""
    parts_of = Call("min", (Int(MOST_PARTS), ceil_div(count, SHORTEST_PART)))
    found: list[Name] = []
    for wish in ("PARTS", "PART_LENGTH"):
        wanted = parts_of if wish == "PARTS" else ceil_div(count, found[0])
        known = next((n for n, e in derived.items() if e == wanted), None)
        if known is None:
            known = _fresh(wish, set(derived) | set(tensors))
            derived[known] = wanted
        found.append(Name(known))
    return found[0], found[1]


def _index(expression: Expression) -> IndexValue:
    return IndexValue("int64", expression)


def _at(value: Value, axes: tuple[Axis, ...], position: Expression, count: Expression) -> Value:
    """`value` at a row-major position over `axes`; loads beyond the last read nothing."""
    names = tuple(Name(a.name) for a in axes)
    extents = tuple(a.extent for a in axes)
    found: dict[str, Expression] = {}
    for place, axis in enumerate(axes):
        inner = product(list(extents[place + 1 :]))
        here = position if inner == Int(1) else position // inner
        found[axis.name] = here if place == 0 else here % axis.extent
    bound = Bound(position, count)

    def change(node: Value) -> Value | None:
        if not isinstance(node, Load):
            return None
        if node.index == names and node.shape == extents:  # elements in the order of memory
            flat = replace(node, shape=(count,), index=(position,))
            return replace(flat, guard=(*node.guard, bound), other=node.other or 0.0)
        moved = substitute_value(node, found)
        assert isinstance(moved, Load)
        if moved == node:
            return node  # a scalar
        return replace(moved, guard=(*moved.guard, bound), other=moved.other or 0.0)

    return map_value(_positions_at(value, found), change)


def _positions_at(value: Value, found: dict[str, Expression]) -> Value:
    """`value` with axis names in positions (not in loads) replaced."""

    def change(node: Value) -> Value | None:
        if isinstance(node, IndexValue):
            return substitute_value(node, found)
        return node if isinstance(node, Load) else None

    return map_value(value, change)

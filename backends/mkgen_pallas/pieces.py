"""Takes a kernel apart into pieces that a general block kernel can compute one by one.

The templates made for a form of kernel tile it as a whole. What they refuse is run as several
calls: one for each reduction, one for each gather, one for each tensor that is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from mkgen.errors import UnsupportedError
from mkgen.expression import Expression, Int, Name, to_python
from mkgen.ir.kernel import Kernel
from mkgen.ir.nest import (
    Apply,
    Axis,
    Bound,
    Constant,
    Graph,
    IndexValue,
    Indirect,
    Load,
    Store,
    Value,
    index_names,
    loads,
    map_value,
    walk_value,
)  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """`result[out] = combine over the reduced axes of value`; one pallas_call."""

    result: str
    dtype: str
    """In memory."""
    shape: tuple[Expression, ...]
    """Of the array that the call's result becomes; `out` walks the parallel and scan axes."""
    out: tuple[str, ...]
    """Axis of each dimension, before a view as `shape`."""
    axes: tuple[Axis, ...]
    value: Value
    combine: str | None = None

    def of_kind(self, kind: str) -> tuple[Axis, ...]:
        """The axes of `kind`, outermost first."""
        return tuple(a for a in self.axes if a.kind == kind)


def pieces(kernel: Kernel, graph: Graph) -> list[Piece]:
    """The calls that compute `kernel`, in order. UnsupportedError for stores at computed places."""
    maker = _Maker(kernel, graph)
    for reduction in kernel.reductions:
        maker.add_reduction(reduction.result, reduction.value, reduction.combine)
    for store in (*kernel.row_stores, *kernel.stores):
        maker.add_store(store)
    return maker.made


class _Maker:
    """Pieces so far, and the names they have taken."""

    def __init__(self, kernel: Kernel, graph: Graph) -> None:
        self.kernel, self.graph = kernel, graph
        self.made: list[Piece] = []
        groups = (kernel.batch, kernel.rows, kernel.cols, kernel.depth, kernel.space)
        self.axes = {a.name: a for group in groups for a in group}
        self.taken = set(self.axes) | set(graph.tensors)

    def add_reduction(self, result: str, value: Value, combine: str) -> None:
        """The calls for one reduction (or scan) of the kernel."""
        kernel = self.kernel
        rowwise = kernel.kind == "rowwise"
        parallel = kernel.rows if rowwise else kernel.space
        if kernel.kind == "scan":
            parallel = self._scan_order(result)
        reduced = kernel.cols if rowwise else kernel.depth
        info = self.graph.tensors[result]
        axes = (*parallel, *(a for a in reduced if a not in parallel))
        out = tuple(a.name for a in axes if a.kind != "reduce")
        value = self.gathered(value)
        scanned = [a for a in axes if a.kind == "scan"]
        if scanned and not all(_walks_plainly(value, a) for a in scanned):
            value = self.spilled(f"{result}_terms", value, axes)
        self.made.append(Piece(result, info.dtype, info.shape, out, axes, value, combine))

    def _scan_order(self, result: str) -> tuple[Axis, ...]:
        """Parallel axes and the scanned one, in the order of the result's dimensions."""
        every = (*self.kernel.rows, *self.kernel.cols)
        for store in self.kernel.stores:
            for load in loads(store.value):
                order = [i.name for i in load.index if isinstance(i, Name)]
                if load.tensor == result and sorted(order) == sorted(a.name for a in every):
                    return tuple(self.axes[n] for n in order)
        return every

    def add_store(self, store: Store) -> None:
        """The call that writes one tensor; none when a reduction already is that tensor."""
        value = store.value
        done = any(p.result == store.tensor for p in self.made)
        if done and isinstance(value, Load) and value.tensor == store.tensor:
            return
        out: list[str] = []
        for part in store.index:
            if isinstance(part, Name):
                out.append(part.name)
            elif part != Int(0):
                raise UnsupportedError(
                    f"pallas writes {store.tensor} in order, not at {_where(part)}"
                )
        axes = tuple(replace(self.axes[n], kind="parallel") for n in out)
        info = self.graph.tensors[store.tensor]
        value = self.gathered(value)
        if self._is_last(value, out):
            last = self.made.pop()
            self.made.append(
                replace(
                    last, result=store.tensor, dtype=info.dtype, shape=info.shape, out=tuple(out)
                )
            )
            return
        self.made.append(Piece(store.tensor, info.dtype, info.shape, tuple(out), axes, value))

    def _is_last(self, value: Value, out: list[str]) -> bool:
        """Whether `value` is, element for element, what the last call gathered."""
        if not self.made or not isinstance(value, Load) or value.guard:
            return False
        last = self.made[-1]
        own = value.tensor == last.result and last.result not in self.graph.tensors
        whole = value.index == tuple(Name(n) for n in last.out)
        return own and whole and sorted(last.out) == sorted(out)

    def gathered(self, value: Value) -> Value:
        """`value` with what it reads at positions from memory read by calls of their own."""

        def change(node: Value) -> Value | None:
            if isinstance(node, Load) and any(_from_memory(i) for i in node.index):
                return self._gather(node)
            return None

        return map_value(value, change)

    def spilled(self, wish: str, value: Value, axes: Iterable[Axis]) -> Load:
        """A call that writes `value` for every point of `axes`, and the load of its result."""
        parallel = tuple(replace(a, kind="parallel") for a in axes)
        name = self._fresh(wish)
        shape = tuple(a.extent for a in parallel)
        out = tuple(a.name for a in parallel)
        self.made.append(Piece(name, value.dtype, shape, out, parallel, value))
        return Load(value.dtype, name, shape, tuple(Name(n) for n in out))

    def _gather(self, load: Load) -> Value:
        """Every position of the gathered dimensions is looked at; the one wanted is taken."""
        index: list[Expression] = []
        wanted: list[Value] = []
        found: list[Axis] = []
        for part, size in zip(load.index, load.shape, strict=True):
            if not _from_memory(part):
                index.append(part)
                continue
            assert isinstance(part, Indirect)
            axis = Axis(self._fresh(f"{load.tensor}_at"), size, "reduce")
            found.append(axis)
            index.append(Name(axis.name))
            position = IndexValue("int32", Name(axis.name))
            chosen = self.gathered(part.value)
            wanted.append(Apply("bool", "eq", (chosen, position)))
        names = frozenset().union(*(index_names(i) for i in load.index))
        axes = tuple(replace(a, kind="parallel") for a in self.axes.values() if a.name in names)
        element: Value = Load(load.dtype, load.tensor, load.shape, tuple(index))
        dtype = "int32" if load.dtype == "bool" else load.dtype
        if dtype != load.dtype:
            element = Apply(dtype, "cast", (element,))
        zero = Constant(dtype, 0.0 if "float" in dtype else 0)
        value = Apply(dtype, "where", (_all(wanted), element, zero))
        name = self._fresh(f"{load.tensor}_rows")
        shape = tuple(a.extent for a in axes)
        out = tuple(a.name for a in axes)
        self.made.append(Piece(name, dtype, shape, out, (*axes, *found), value, "sum"))
        result: Value = Load(dtype, name, shape, tuple(Name(n) for n in out))
        if dtype != load.dtype:
            result = Apply(load.dtype, "ne", (result, Constant(dtype, 0)))
        if not load.guard:
            return result
        other = load.other or 0
        constant = Constant(load.dtype, float(other) if "float" in load.dtype else int(other))
        return Apply(load.dtype, "where", (self._inside(load.guard), result, constant))

    def _inside(self, guard: tuple[Bound, ...]) -> Value:
        """A guard as a value."""
        checks: list[Value] = []
        for bound in guard:
            index: Value = (
                self.gathered(bound.index.value)
                if isinstance(bound.index, Indirect)
                else IndexValue("int32", bound.index)
            )
            extent = IndexValue("int32", bound.extent)
            checks.append(Apply("bool", "le", (Constant("int32", 0), index)))
            checks.append(Apply("bool", "lt", (index, extent)))
        return _all(checks)

    def _fresh(self, wish: str) -> str:
        name, count = wish, 1
        while name in self.taken:
            count += 1
            name = f"{wish}{count}"
        self.taken.add(name)
        return name


def _from_memory(index: Expression) -> bool:
    """Whether an index depends on what a tensor holds, not on positions alone."""
    return isinstance(index, Indirect) and bool(loads(index.value))


def _all(checks: list[Value]) -> Value:
    value = checks[0]
    for check in checks[1:]:
        value = Apply("bool", "and", (value, check))
    return value


def _where(part: Expression) -> str:
    return "positions from memory" if isinstance(part, Indirect) else to_python(part)


def _walks_plainly(value: Value, axis: Axis) -> bool:
    """Whether every load that moves with `axis` walks a whole dimension by it."""
    return all(plainly(load, axis) for load in loads(value))


def plainly(load: Load, axis: Axis) -> bool:
    """Whether `load` does not move with `axis`, or walks one whole dimension by it."""
    moved = [i for i, part in enumerate(load.index) if axis.name in index_names(part)]
    if not moved:
        return True
    (first, *rest) = moved
    return not rest and load.index[first] == Name(axis.name) and load.shape[first] == axis.extent


def positions(value: Value) -> Iterator[Expression]:
    """Every index expression that `value` uses as a number or compares with a bound."""
    for node in walk_value(value):
        if isinstance(node, IndexValue):
            yield node.expression
        if isinstance(node, Load):
            for bound in node.guard:
                yield bound.index

"""What a template sees of a kernel: names, extents, and stretches of code already printed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from mkgen.codegen.printer import (
    Printer,
    Scope,
    decompose,
    flatten_store,
    flatten_value,
    used_axes,
    value_name,
)  # fmt: skip
from mkgen.expression import Expression, Int, Name
from mkgen.ir.kernel import Kernel, arguments, extent
from mkgen.ir.nest import Axis, Graph, Load, Store, Value, index_names, value_names, walk_value

#: What a result is called in the code when its own name is that of the buffer it goes to.
RESULT_NAMES = {"sum": "total", "prod": "product", "max": "highest", "min": "lowest"}


@dataclass(frozen=True)
class Argument:
    """A kernel parameter."""

    name: str
    dtype: str
    output: bool
    sliced: bool = False
    """Whether each round of a loop gives another slice of it."""


@dataclass(frozen=True)
class Stage:
    """One reduction of a row-wise or window kernel, as code."""

    name: str
    dtype: str
    combine: str
    lines: str
    """What comes before `value`, inside the loop over columns."""
    value: str
    scalars: str
    """Values that follow from the result, once per row."""


@dataclass(frozen=True)
class Block:
    """Declarations, then one expression."""

    lines: str
    value: str


class View:
    """A kernel through one dialect's printer."""

    def __init__(self, kernel: Kernel, graph: Graph, printer: Printer) -> None:
        self.kernel, self.graph, self.printer = kernel, graph, printer
        writes = set(kernel.writes())
        sliced = graph.loop(kernel.loop).sliced() if kernel.loop else ()
        self.arguments = tuple(
            Argument(n, graph.tensors[n].dtype, n in writes, n in sliced)
            for n in arguments(kernel, graph)
        )
        self.flat_rows = self._flat(kernel.rows, "row" if kernel.kind != "pointwise" else "i")
        self.flat_cols = self._flat(kernel.cols, "col")
        self.flat_depth = self._flat(kernel.depth, "depth")
        self.flat_batch = self._flat(kernel.batch, "batch")

    def _flat(self, axes: Sequence[Axis], default: str) -> str:
        """The variable that walks a group of axes: the axis itself when there is one only."""
        if len(axes) == 1:
            return axes[0].name
        every = (*self.kernel.rows, *self.kernel.cols, *self.kernel.depth, *self.kernel.batch)
        taken = {a.name for a in self.arguments} | {a.name for a in every}
        return default if default not in taken else f"{default}_index"

    def extents(self) -> dict[str, Expression]:
        """Number of points of each group of axes; `lines` x `width` are the rows of a pointwise
        kernel with its fastest axis apart."""
        kernel = self.kernel
        groups = {
            "rows": kernel.rows, "cols": kernel.cols, "depth": kernel.depth,
            "batch": kernel.batch, "lines": kernel.rows[:-1], "width": kernel.rows[-1:],
        }  # fmt: skip
        # 1 where the kernel has one row whatever the sizes: no check can show more
        single = {"single": Int(int(not kernel.rows))}
        return {name: extent(axes) for name, axes in groups.items()} | single

    def scope(self, masks: Mapping[str, str] | None = None) -> Scope:
        """An empty scope that knows the names already in use."""
        flats = {self.flat_rows, self.flat_cols, self.flat_depth, self.flat_batch}
        axes = (*self.kernel.rows, *self.kernel.cols, *self.kernel.depth, *self.kernel.batch)
        taken = {a.name for a in self.arguments} | flats | {a.name for a in axes}
        for call in self.printer.calls.values():  # OpenCL's sqrt is no name for a variable
            taken |= set(re.findall(r"[A-Za-z_]\w*", call))
        return Scope(masks=dict(masks or {}), taken=taken)

    def groups(self) -> list[tuple[tuple[Axis, ...], str]]:
        """Every group with the variable that walks it."""
        kernel = self.kernel
        pairs = (
            (kernel.batch, self.flat_batch),
            (kernel.rows, self.flat_rows),
            (kernel.cols, self.flat_cols),
            (kernel.depth, self.flat_depth),
        )
        return [(axes, flat) for axes, flat in pairs if axes]

    def all_masks(self, mask: str) -> dict[str, str]:
        """One mask for every axis that is a block; a window's own axes are plain loops."""
        kernel = self.kernel
        axes = (*kernel.batch, *kernel.rows, *kernel.cols)
        flats = (self.flat_rows, self.flat_cols, self.flat_batch)
        if kernel.kind != "window":
            axes, flats = (*axes, *kernel.depth), (*flats, self.flat_depth)  # type: ignore[assignment]
        return dict.fromkeys((*(a.name for a in axes), *flats), mask)

    def side_masks(self, rows: str, cols: str) -> dict[str, str]:
        """One mask for the rows and one for the columns of a contraction."""
        made = {a.name: rows for a in self.kernel.rows} | {self.flat_rows: rows}
        return made | {a.name: cols for a in self.kernel.cols} | {self.flat_cols: cols}

    def _flattened(self, value: Value, apart: Sequence[Axis] = ()) -> Value:
        """`value` with groups of axes walked by one variable, but for those `apart`."""
        for axes, flat in self.groups():
            if len(axes) > 1 and axes != apart:
                value = flatten_value(value, axes, flat)
        return value

    def _flattened_store(self, store: Store) -> Store:
        for axes, flat in self.groups():
            if len(axes) > 1:
                store = flatten_store(store, axes, flat)
        return store

    def _declare_axes(
        self,
        values: Sequence[Value],
        stores: Sequence[Store],
        scope: Scope,
        known: Sequence[str] = (),
    ) -> None:
        """Lines that take apart flat variables into the axes that are still named."""
        if not self.printer.splits_axes:
            return
        for axes, flat in self.groups():
            if len(axes) < 2:
                continue
            used = used_axes(values, stores, axes) - set(known)
            for name, index in decompose(axes, Name(flat)).items():
                if name in used:
                    code = self.printer.index(index)
                    scope.lines.append(self.printer.declare_index(name, code))
            for axis in axes:
                if flat in scope.masks:
                    scope.masks.setdefault(axis.name, scope.masks[flat])

    def stores(self, stores: Sequence[Store], scope: Scope, known: Sequence[str] = ()) -> str:
        """Code that computes and writes `stores`."""
        flat = [self._flattened_store(s) for s in stores]
        self._declare_axes([], flat, scope, known)
        self.printer.bind_shared([s.value for s in flat], scope)
        for store in flat:
            value = self.printer.expression(store.value, scope)
            offset = self.printer.offset(store.shape, store.index, scope)
            mask_names = frozenset().union(*(index_names(i) for i in store.index), frozenset())
            scope.lines.append(
                self.printer_store(store, offset.code, value.code, scope, mask_names)
            )
        return "\n".join(scope.lines)

    def printer_store(
        self, store: Store, offset: str, value: str, scope: Scope, axes: frozenset[str]
    ) -> str:
        """One write, in the dialect's words."""
        dtype = self.graph.tensors[store.tensor].dtype
        code = self.printer.store(store.tensor, dtype, offset, value, store.value.dtype)
        return self.printer.masked_store(
            code, [scope.masks[a] for a in sorted(axes & set(scope.masks))]
        )

    def block(self, value: Value, scope: Scope, known: Sequence[str] = ()) -> Block:
        """Code that computes `value`."""
        flat = self._flattened(value)
        self._declare_axes([flat], [], scope, known)
        self.printer.bind_shared([flat], scope)
        code = self.printer.expression(flat, scope).code
        return Block("\n".join(scope.lines), code)

    def epilogue(self, accumulator: str, masks: Mapping[str, str] | None = None) -> str:
        """The stores of a contraction or window kernel, its result being in `accumulator`."""
        scope = self.scope(masks)
        stores = [
            replace(s, value=self._bind_result(s.value, scope, accumulator))
            for s in self.kernel.stores
        ]
        return self.stores(stores, scope)

    def _bind_result(self, value: Value, scope: Scope, accumulator: str) -> Value:
        reduction = self.kernel.reductions[0]
        for node in walk_value(value):
            if isinstance(node, Load) and node.tensor == reduction.result:
                flat = self._flattened(node)
                scope.bound[node] = scope.bound[flat] = accumulator
        return value

    def axis_names(self, axes: Sequence[Axis]) -> str:
        """`k`, or `(n, p, q)`."""
        names = ", ".join(a.name for a in axes)
        return names if len(axes) == 1 else f"({names})"

    def operand(self, side: str, masks: Mapping[str, str] | None = None, narrow: str = "") -> Block:
        """rows or cols operand of a contraction, one element, as code; `narrow`: not widened."""
        value = self.operand_value(side)
        if narrow and isinstance(value, Load):
            value = replace(value, dtype=narrow, stored="")
        scope = self.scope(masks)
        if side == "cols":  # a tensor times itself: the values of the rows are still wanted
            other = walk_value(self.operand_value("rows"))
            scope.taken |= {value_name(v) for v in other if isinstance(v, Load)}
        return self.block(value, scope)

    def narrow(self) -> str:
        """The 16-bit dtype that both operands of a contraction have in memory; empty if none.

        Their products are exact in float32, so that matrix units lose nothing.
        """
        sides = [self.operand_value(side) for side in ("rows", "cols")]
        found = {v.stored if isinstance(v, Load) else "" for v in sides}
        return found.pop() if len(found) == 1 else ""

    def strided(self) -> bool:
        """Whether what a row-wise kernel reads lies row beside row, not column beside column."""
        rows, cols = ({a.name for a in axes} for axes in (self.kernel.rows, self.kernel.cols))
        if self.kernel.kind != "rowwise" or not rows:
            return False
        first = next(
            (v for v in walk_value(self.kernel.reductions[0].value) if walks(v, cols)), None
        )
        if first is None:
            return False
        fastest = index_names(first.index[-1])
        return bool(fastest & rows) and not fastest & cols

    def plain(self) -> bool:
        """Whether a contraction multiplies float32 buffers as they lie, not windows or results."""
        if self.kernel.kind != "contraction":
            return False
        sides = [self.operand_value(side) for side in ("rows", "cols")]
        return all(
            isinstance(v, Load) and not v.guard and not v.stored and v.dtype == "float32"
            and all(isinstance(i, Name | Int) for i in v.index)
            for v in sides
        )  # fmt: skip

    def operand_value(self, side: str) -> Value:
        """The factor whose own parallel axes are the kernel's rows (`rows`) or columns (`cols`)."""
        left, right = self.kernel.reductions[0].value.children()
        rows = {a.name for a in self.kernel.rows}
        first = left if rows & value_names(left) else right
        return first if side == "rows" else (right if first is left else left)

    def operand_name(self, side: str) -> str:
        """The buffer an operand is loaded from."""
        value = self.operand_value(side)
        names = [v.tensor for v in walk_value(value) if isinstance(v, Load)]
        return names[0]

    def depth_fastest(self, side: str) -> bool:
        """Whether neighbouring depth positions of an operand are neighbours in memory."""
        value = self._flattened(self.operand_value(side))
        load = next(v for v in walk_value(value) if isinstance(v, Load))
        depth = {a.name for a in self.kernel.depth} | {self.flat_depth}
        cols = {a.name for a in self.kernel.cols} | {self.flat_cols}
        fastest = index_names(load.index[-1])
        return bool(fastest & depth) and not fastest & cols

    def row_axes(self) -> str:
        """Lines that take the row apart into its axes."""
        scope = self.scope()
        values = [self._flattened(v) for v in self.kernel.values()]
        stores = [self._flattened_store(s) for s in (*self.kernel.row_stores, *self.kernel.stores)]
        if len(self.kernel.rows) > 1:
            used = used_axes(values, stores, self.kernel.rows)
            for name, index in decompose(self.kernel.rows, Name(self.flat_rows)).items():
                if name in used:
                    line = self.printer.declare_index(name, self.printer.index(index))
                    scope.lines.append(line)
        return "\n".join(scope.lines)

    def window_stage(self, masks: Mapping[str, str] | None = None) -> Stage:
        """The reduction of a window kernel: `lines` declare the parallel axes."""
        reduction = self.kernel.reductions[0]
        scope = self.scope(masks)
        # a loop per reduced axis: none of them is merged
        value = self._flattened(reduction.value, self.kernel.depth)
        self._declare_axes([value], [], scope, [a.name for a in self.kernel.depth])
        outer = "\n".join(scope.lines)
        scope.lines = []
        self.printer.bind_shared([value], scope)
        code = self.printer.expression(value, scope).code
        inner = "\n".join(scope.lines)
        name = "best" if reduction.combine in ("max", "min") else "total"
        return Stage(name, reduction.dtype, reduction.combine, inner, code, outer)

    def long_sum(self) -> bool:
        """Whether a window kernel sums more than the few terms of a sliding window."""
        reduction = self.kernel.reductions[0]
        short = self.kernel.tag in ("pool", "resize", "depthwise")
        return reduction.combine == "sum" and "float" in reduction.dtype and not short

    def window_epilogue(self, accumulator: str, masks: Mapping[str, str] | None = None) -> str:
        """The stores of a window kernel whose parallel axes are already declared."""
        value = self._flattened(self.kernel.reductions[0].value, self.kernel.depth)
        known = used_axes([value], [], self.kernel.rows)
        scope = self.scope(masks)
        stores = [
            replace(s, value=self._bind_result(s.value, scope, accumulator))
            for s in self.kernel.stores
        ]
        return self.stores(stores, scope, sorted(known))


def walks(value: Value, axes: set[str]) -> TypeGuard[Load]:
    """Whether `value` is a load that `axes` move."""
    return isinstance(value, Load) and bool(value_names(value) & axes)

"""What templates of row-wise kernels and of scans see: stages over the columns, then stores."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mkgen.codegen.printer import (
    Printer,
    Scope,
    value_name,
)  # fmt: skip
from mkgen.codegen.view import RESULT_NAMES, Stage, View
from mkgen.expression import Name
from mkgen.ir.kernel import Kernel, Reduction
from mkgen.ir.nest import Apply, Graph, Load, Store, Value, index_names, value_names, walk_value


@dataclass
class Cache:
    """A per-column value kept between the passes over a row."""

    name: str
    dtype: str


def _outside(value: Value, passes: Sequence[Value], kept: set[Value]) -> bool:
    """Whether some pass needs `value` beside what it needs it for in values that are kept."""

    def reached(node: Value) -> bool:
        return node == value or (node not in kept and any(reached(c) for c in node.children()))

    return any(reached(p) for p in passes)


class RowwiseView(View):
    """A row-wise kernel: stages over the columns, then stores."""

    def stages(self, keep: str | None, masks: Mapping[str, str] | None = None) -> list[Stage]:
        """One stage per reduction.

        With `keep` (a format of a cache slot, `{name}[item]`) values that several passes need are
        stored where they first appear; without it every pass computes them again from memory.
        """
        self.base = self.scope(masks)
        self.caches: list[Cache] = []
        self._keep = keep
        self._shared = self._kept_values() if keep else []
        stages = []
        for reduction in self.kernel.reductions:
            stages.append(self._stage(reduction))
        return stages

    def names_column(self, code: str) -> bool:
        """Whether `code` uses the position of a column."""
        return re.search(rf"\b{self.flat_cols}\b", code) is not None

    def combines(self) -> list[tuple[str, str]]:
        """Every (combine, dtype) the stages use, once."""
        return list(dict.fromkeys((r.combine, r.dtype) for r in self.kernel.reductions))

    def scratch_dtypes(self) -> list[str]:
        """Dtypes that are combined over the work-group."""
        return list(dict.fromkeys(r.dtype for r in self.kernel.reductions))

    def needs_scratch(self, dtype: str, printer: Any, group: bool) -> bool:
        """Whether some combine of `dtype` goes through shared memory."""
        return any(
            not printer.group_call(c, d, "", group) for c, d in self.combines() if d == dtype
        )

    def _kept_values(self) -> list[Value]:
        """Values over columns that more than one pass needs, inner ones first."""
        cols = {a.name for a in self.kernel.cols} | {self.flat_cols}
        passes: list[Value] = [r.value for r in self.kernel.reductions]
        passes += [s.value for s in self.kernel.stores]
        flat = [self._flattened(v) for v in passes]
        found: dict[Value, int] = {}
        for value in flat:
            for node in dict.fromkeys(walk_value(value)):
                if value_name(node) and value_names(node) & cols:
                    found[node] = found.get(node, 0) + 1
        rows = {a.name for a in self.kernel.rows} | {self.flat_rows}
        every = [v for v, count in found.items() if count > 1 and value_names(v) & rows]
        return [v for v in every if _outside(v, flat, set(every) - {v})]

    def _stage(self, reduction: Reduction) -> Stage:
        scope = self.base.inner()
        value = self._flattened(reduction.value)
        self._declare_axes([value], [], scope, [a.name for a in self.kernel.rows])
        self._fill_caches([value], scope)
        self.printer.bind_shared([value], scope)
        code = self.printer.expression(value, scope).code
        written = {a.name for a in self.arguments}
        wish = RESULT_NAMES[reduction.combine] if reduction.result in written else reduction.result
        name = self.base.fresh(wish)
        load = self._row_load(reduction)
        self.base.bound[load] = name
        return Stage(
            name, reduction.dtype, reduction.combine, "\n".join(scope.lines), code,
            self._scalars(),
        )  # fmt: skip

    def _row_load(self, reduction: Reduction) -> Load:
        shape = tuple(a.extent for a in self.kernel.rows)
        index = tuple(Name(a.name) for a in self.kernel.rows)
        load = Load(reduction.dtype, reduction.result, shape, index)
        flat = self._flattened(load)
        assert isinstance(flat, Load)
        for value in self.kernel.values():  # loads may see the result under another shape
            for node in walk_value(self._flattened(value)):
                if isinstance(node, Load) and node.tensor == reduction.result:
                    return node
        return flat

    def _fill_caches(self, values: Sequence[Value], scope: Scope) -> None:
        """Stores kept values at their first use; later passes find them in `base.bound`."""
        nodes = {n for v in values for n in walk_value(v)}
        inner_first = sorted(self._shared, key=lambda v: sum(1 for _ in walk_value(v)))
        for value in inner_first:
            if value in self.base.bound or value not in nodes:
                continue
            if self._only_under_kept(value, values, scope):
                continue
            assert self._keep is not None
            name = self.base.fresh(value_name(value))
            slot = self._keep.format(name=name)
            code = self.printer.expression(value, scope).code
            scope.lines.append(self.printer.assign(slot, code))
            self.caches.append(Cache(name, value.dtype))
            self.base.bound[value] = scope.bound[value] = slot

    def _only_under_kept(self, value: Value, values: Sequence[Value], scope: Scope) -> bool:
        """Whether every use of `value` is inside something that is itself kept already."""
        bound = set(self.base.bound)

        def reachable(node: Value) -> bool:
            if node in bound:
                return False
            if node == value:
                return True
            return any(reachable(c) for c in node.children())

        return not any(reachable(v) for v in values)

    def _scalars(self) -> str:
        """Named values of the row that can be computed now and are used later."""
        cols = {a.name for a in self.kernel.cols} | {self.flat_cols}
        lines: list[str] = []
        candidates: dict[Value, None] = {}
        for value in self.kernel.values():
            for node in walk_value(self._flattened(value)):
                if isinstance(node, Apply) and node.name and not value_names(node) & cols:
                    candidates[node] = None
        for node in sorted(candidates, key=lambda v: sum(1 for _ in walk_value(v))):
            if node in self.base.bound or not self._ready(node):
                continue
            scope = self.base.inner()
            code = self.printer.expression(node, scope).code
            name = self.base.fresh(value_name(node))
            lines += [*scope.lines, self.printer.declare(name, node.dtype, code)]
            self.base.bound[node] = name
        return "\n".join(lines)

    def _ready(self, value: Value) -> bool:
        results = {r.result for r in self.kernel.reductions}
        for node in walk_value(value):
            if isinstance(node, Load) and node.tensor in results and node not in self.base.bound:
                return False
        return True

    def final(self) -> str:
        """The last pass: what is written per element, inside the loop over columns."""
        if not self.kernel.stores:
            return ""
        scope = self.base.inner()
        flat = [self._flattened_store(s) for s in self.kernel.stores]
        self._declare_axes([], flat, scope, [a.name for a in self.kernel.rows])
        return self.stores_flat(flat, scope)

    def per_row(self) -> str:
        """What is written once per row."""
        if not self.kernel.row_stores:
            return ""
        flat = [self._flattened_store(s) for s in self.kernel.row_stores]
        return self.stores_flat(flat, self.base.inner())

    def stores_flat(self, stores: Sequence[Store], scope: Scope) -> str:
        """Writes whose indices are already flat."""
        self.printer.bind_shared([s.value for s in stores], scope)
        for store in stores:
            value = self.printer.expression(store.value, scope)
            offset = self.printer.offset(store.shape, store.index, scope)
            axes = frozenset().union(*(index_names(i) for i in store.index), frozenset())
            scope.lines.append(self.printer_store(store, offset.code, value.code, scope, axes))
        return "\n".join(scope.lines)


class ScanView(View):
    """A scan kernel: a value per column, combined with all before it, then stores."""

    def stage(self, masks: Mapping[str, str] | None = None) -> Stage:
        """The value of one column, `name` what the combination is called."""
        reduction = self.kernel.reductions[0]
        self.base = self.scope(masks)
        scope = self.base.inner()
        value = self._flattened(reduction.value)
        self.printer.bind_shared([value], scope)
        code = self.printer.expression(value, scope).code
        written = {a.name for a in self.arguments}
        wish = RESULT_NAMES[reduction.combine] if reduction.result in written else reduction.result
        name = self.base.fresh(wish)
        lines = "\n".join(scope.lines)
        return Stage(name, reduction.dtype, reduction.combine, lines, code, "")

    def final(self, result: str) -> str:
        """The stores of one column, the running combination being in `result`."""
        scope = self.base.inner()
        stores = [
            replace(s, value=self._bind_result(s.value, scope, result)) for s in self.kernel.stores
        ]
        return self.stores(stores, scope, [a.name for a in self.kernel.rows])


def make_view(kernel: Kernel, graph: Graph, printer: Printer) -> View:
    """The view that suits the kernel's form; inside a loop it sees slices."""
    return _VIEWS.get(kernel.kind, View)(kernel, graph.inside(kernel.loop), printer)


_VIEWS: dict[str, type[View]] = {"rowwise": RowwiseView, "scan": ScanView}

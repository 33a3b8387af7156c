"""How a kernel's buffers become blocks: which dimensions a block spans, and the glue it takes.

A TPU kernel is given blocks of (rows, columns); buffers that walk only one of the two are viewed
as a row or a column. What cannot be tiled that way is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mkgen.codegen.view import Argument, View
from mkgen.errors import UnsupportedError
from mkgen.expression import Expression, Int, Name, names, product, to_python
from mkgen.ir.affine import affine
from mkgen.ir.nest import (
    Axis,
    IndexValue,
    Indirect,
    Load,
    index_names,
    loads,
    plain,
    walk_value,
)  # fmt: skip
from mkgen_pallas.block_call import Call
from mkgen_pallas.blocks import BlockPlanner
from mkgen_pallas.pieces import pieces

if TYPE_CHECKING:
    from mkgen_pallas.printer import PallasPrinter


@dataclass(frozen=True)
class Operand:
    """A buffer as blocks of a 2-D view."""

    name: str
    feed: str
    """The view: `bias.reshape(1, COLS)`."""
    kind: str
    """full, row (one value per row), col (one per column)."""
    output: bool
    dtype: str


@dataclass(frozen=True)
class Slide:
    """One spatial dimension of a sliding window, as Python expressions."""

    size: str
    """Of the input."""
    out: str
    taps: str
    """Extent of the window."""
    stride: str
    dilation: str
    pad: str


@dataclass(frozen=True)
class Arrays:
    """A kernel's arguments as a function's: what it is given, what it returns."""

    inputs: tuple[str, ...]
    outputs: tuple[Argument, ...]

    @property
    def parameters(self) -> str:
        """The kernel's parameters; what is changed in place is read where it is written."""
        own = [a.name for a in self.outputs]
        given = [f"{n}_given" if n in own else n for n in self.inputs]
        return ", ".join((*given, *own))

    @property
    def aliases(self) -> dict[int, int]:
        """Input position -> output position of what is changed in place."""
        own = [a.name for a in self.outputs]
        return {i: own.index(n) for i, n in enumerate(self.inputs) if n in own}


class Layout:
    """Blocks of one kernel."""

    def __init__(self, view: View, printer: PallasPrinter) -> None:
        self.view, self.printer = view, printer

    def operands(self, rows: tuple[Axis, ...], cols: tuple[Axis, ...]) -> list[Operand]:
        """Every buffer of a pointwise or row-wise kernel over rows x cols."""
        self._one_output()
        self._whole_dimensions()
        self._positions(cols if self.view.kernel.kind == "rowwise" else ())
        if any(r.combine == "prod" for r in self.view.kernel.reductions):
            raise UnsupportedError("pallas has no product along the columns of a block")
        if not self.view.kernel.reads():
            raise UnsupportedError("pallas gives these blocks the shape of what is read")
        if not rows:
            raise UnsupportedError("pallas makes blocks of rows; this kernel has one row only")
        made = []
        for argument in self.view.arguments:
            kinds = {
                self._kind(argument.name, i, rows, cols) for i in self._accesses(argument.name)
            }
            if len(kinds) != 1:
                raise UnsupportedError(
                    f"pallas reads {argument.name} both by row and by column in one kernel; "
                    "compute one of the two first"
                )
            kind = kinds.pop()
            made.append(Operand(
                argument.name, self._feed(argument.name, kind, rows, cols), kind,
                argument.output, self.printer.dtype(argument.dtype),
            ))  # fmt: skip
        return made

    def _one_output(self) -> None:
        kernel = self.view.kernel
        if len(kernel.writes()) != 1:
            raise UnsupportedError("pallas writes one output with each of these calls")
        if set(kernel.writes()) & set(kernel.reads()):
            raise UnsupportedError("pallas changes nothing in place with these calls")

    def _whole_dimensions(self) -> None:
        """UnsupportedError for a guard, or an axis that walks only a part of a dimension."""
        kernel = self.view.kernel
        groups = (kernel.batch, kernel.rows, kernel.cols, kernel.depth)
        extents = {a.name: a.extent for group in groups for a in group}
        for load in dict.fromkeys(x for value in kernel.values() for x in loads(value)):
            parts = list(zip(load.index, load.shape, strict=True))
            one = any(isinstance(i, Int) and isinstance(d, Int) and d != Int(1) for i, d in parts)
            part = any(isinstance(i, Name) and extents[i.name] != d for i, d in parts)
            if load.guard or one or part:
                raise UnsupportedError(f"pallas reads all of {load.tensor} here or nothing")

    def _positions(self, known: tuple[Axis, ...]) -> None:
        """UnsupportedError for a position as a value, but along the one axis that is `known`."""
        kernel = self.view.kernel
        groups = (kernel.batch, kernel.rows, kernel.cols, kernel.depth)
        named = {known[0].name} if len(known) == 1 else set()
        others = {a.name for group in groups for a in group} - named
        for value in kernel.values():
            for node in walk_value(value):
                if isinstance(node, IndexValue) and names(node.expression) & others:
                    raise UnsupportedError("pallas knows positions along one column axis only")

    def _accesses(self, name: str) -> list[tuple[Expression, ...]]:
        kernel = self.view.kernel
        found = [
            v.index for value in kernel.values() for v in walk_value(value)
            if isinstance(v, Load) and v.tensor == name
        ]  # fmt: skip
        found += [s.index for s in (*kernel.row_stores, *kernel.stores) if s.tensor == name]
        return found

    def _kind(
        self,
        name: str,
        index: tuple[Expression, ...],
        rows: tuple[Axis, ...],
        cols: tuple[Axis, ...],
    ) -> str:
        walked = tuple(i for i in index if i != Int(0))
        by_row: tuple[Expression, ...] = tuple(Name(a.name) for a in rows)
        by_col: tuple[Expression, ...] = tuple(Name(a.name) for a in cols)
        options = {by_row + by_col: "full", by_col: "col", by_row: "row"}
        if any(isinstance(i, Indirect) for i in index):
            raise UnsupportedError(f"pallas cannot tile {name}: its index is read from memory")
        if walked not in options:
            raise UnsupportedError(
                f"pallas cannot tile the way this kernel reads {name}; it walks "
                f"{', '.join(to_python(i) for i in index)}"
            )
        return options[walked]

    def _feed(self, name: str, kind: str, rows: tuple[Axis, ...], cols: tuple[Axis, ...]) -> str:
        row, col = (to_python(product([a.extent for a in g])) for g in (rows, cols))
        shape = {"full": (row, col), "col": ("1", col), "row": (row, "1")}[kind]
        own = tuple(to_python(d) for d in self.view.graph.tensors[name].shape)
        return name if own == shape else f"{name}.reshape({', '.join(shape)})"

    def arrays(self) -> Arrays:
        """The kernel's inputs and outputs, each flat (GPU)."""
        reads = set(self.view.kernel.reads())
        inputs = tuple(a.name for a in self.view.arguments if a.name in reads)
        return Arrays(inputs, tuple(a for a in self.view.arguments if a.output))

    def count(self, name: str) -> str:
        """The number of elements of a buffer."""
        return to_python(product(list(self.view.graph.tensors[name].shape)))

    def calls(self, entry: str, tile: str) -> list[Call]:
        """The kernel as calls over blocks, whatever it reads; the last is called `entry`."""
        made = pieces(self.view.kernel, self.view.graph)
        shapes = {n: t.shape for n, t in self.view.graph.tensors.items()}
        planned = []
        for piece in made:
            name = entry if piece is made[-1] else f"{piece.result}_kernel"
            name = (
                f"{piece.result}_part_kernel" if piece is not made[-1] and name == entry else name
            )
            planner = BlockPlanner(piece, self.view.graph, self.printer, tile, shapes)
            planned.append(planner.plan(name))
            shapes[piece.result] = piece.shape
        return planned

    def shape(self, name: str) -> str:
        """`(ROWS, COLS)`: the buffer's dimensions as the arguments of `reshape`."""
        return f"({', '.join(self.dims(name))})"

    def dims(self, name: str) -> list[str]:
        """The buffer's dimensions as Python."""
        return [to_python(d) for d in self.view.graph.tensors[name].shape]

    def matrix(self, side: str) -> tuple[str, bool]:
        """The view of a contraction operand, and whether depth is its last dimension."""
        kernel = self.view.kernel
        self._one_output()
        self._whole_dimensions()
        self._positions(())
        if kernel.space != (*kernel.rows, *kernel.cols):
            raise UnsupportedError("pallas writes a product row by row")
        value = self.view.operand_value(side)
        if not isinstance(value, Load) or value.guard:
            raise UnsupportedError(
                "pallas takes products of plain buffers only; compute them first"
            )
        own = kernel.rows if side == "rows" else kernel.cols
        walked = tuple(i for i in value.index)
        outer, depth = (tuple(Name(a.name) for a in g) for g in (own, kernel.depth))
        if kernel.batch or walked not in (outer + depth, depth + outer):
            raise UnsupportedError("pallas multiplies matrices; this product has other axes")
        extents = [to_python(product([a.extent for a in g])) for g in (own, kernel.depth)]
        last = walked == outer + depth
        shape = extents if last else extents[::-1]
        feed = value.tensor
        if self.dims(feed) != shape:
            feed = f"{feed}.reshape({', '.join(shape)})"
        return feed, last

    def epilogue_operands(self, feature: tuple[Axis, ...]) -> list[Operand]:
        """Buffers an epilogue reads: one value per feature (the fastest block dimension) each."""
        made = []
        kernel = self.view.kernel
        results = {r.result for r in kernel.reductions}
        seen: dict[str, Load] = {}
        for store in kernel.stores:
            for load in loads(store.value):
                if load.tensor not in results:
                    seen[load.tensor] = load
        for name, load in seen.items():
            wanted = {a.name for a in feature}
            if frozenset().union(*(index_names(i) for i in load.index)) - wanted:
                raise UnsupportedError(
                    f"pallas adds one value per column after a product, not {name}"
                )
            width = to_python(product([a.extent for a in feature]))
            dtype = self.printer.dtype(self.view.graph.tensors[name].dtype)
            made.append(Operand(name, f"{name}.reshape(1, {width})", "col", False, dtype))
        return made

    def window(self) -> list[Slide]:
        """The spatial dimensions of a convolution or pooling kernel."""
        kernel = self.view.kernel
        load = self.window_load()
        self._one_output()
        self._positions(())
        self._planes(load)
        axes = {a.name: a for a in (*kernel.space, *kernel.depth)}
        out, taps = {a.name for a in kernel.space}, {a.name for a in kernel.depth}
        made = []
        for position in range(2, len(load.index)):
            form = affine(load.index[position], axes.keys())
            if form is None:
                raise UnsupportedError("pallas slides windows by a stride only")
            coefficients, rest = form
            by_out = [n for n in coefficients if n in out]
            by_tap = [n for n in coefficients if n in taps]
            if len(by_out) != 1 or len(by_tap) != 1:
                raise UnsupportedError("pallas slides one window axis over one output axis")
            made.append(Slide(
                size=to_python(load.shape[position]),
                out=to_python(axes[by_out[0]].extent),
                taps=to_python(axes[by_tap[0]].extent),
                stride=to_python(coefficients[by_out[0]]),
                dilation=to_python(coefficients[by_tap[0]]),
                pad=to_python(Int(0) - rest if isinstance(rest, Int) else _negated(rest)),
            ))  # fmt: skip
            self._usual_extent(
                axes[by_out[0]], load.shape[position], axes[by_tap[0]],
                coefficients[by_out[0]], coefficients[by_tap[0]], _negated(rest),
            )  # fmt: skip
        return made

    def _usual_extent(
        self,
        out: Axis,
        size: Expression,
        taps: Axis,
        stride: Expression,
        dilation: Expression,
        pad: Expression,
    ) -> None:
        """UnsupportedError unless every window lies in the input padded alike on both sides."""
        usual = (size + 2 * pad - dilation * (taps.extent - 1) - 1) // stride + 1
        made = (
            self.view.graph.derived.get(out.extent.name) if isinstance(out.extent, Name) else None
        )
        if made != usual:
            raise UnsupportedError("pallas pads both sides alike, and takes whole windows only")

    def _planes(self, load: Load) -> None:
        """UnsupportedError unless batch and channels are walked whole, as a plain window does."""
        kernel = self.view.kernel
        batch, channel = (plain(i) for i in load.index[:2])
        space = [a.name for a in kernel.space]
        depth = [a.name for a in kernel.depth]
        whole = {a.name: a.extent for a in (*kernel.space, *kernel.depth)}
        right = len(space) == 4 and batch == space[0] and channel in whole
        right = right and (whole[space[0]], whole[channel or ""]) == load.shape[:2]
        if kernel.kind == "window":
            right = right and channel == space[1] and len(depth) == 2
        else:
            weight = next(v for v in loads(kernel.reductions[0].value) if v.tensor != load.tensor)
            wanted = (Name(space[1]), *(Name(d) for d in depth))
            factors = kernel.reductions[0].value.children()
            right = right and channel == depth[0] and len(depth) == 3
            right = right and weight.index == wanted and not weight.guard
            right = right and all(isinstance(f, Load) for f in factors)
            right = right and tuple(whole[n.name] for n in wanted) == weight.shape
        stored = tuple(Name(n) for n in space)
        if not right or any(s.index != stored for s in kernel.stores):
            raise UnsupportedError("pallas slides windows over whole planes of batch and channels")

    @staticmethod
    def scaled(name: str, factor: str) -> str:
        """`p * STRIDE_H`, or just `p`."""
        return name if factor == "1" else f"{name} * {factor}"

    def weight_name(self) -> str:
        """The other operand of a convolution."""
        value = self.view.kernel.reductions[0].value
        window = self.window_load().tensor
        (name,) = [v.tensor for v in loads(value) if v.tensor != window]
        return name

    def gather(self) -> tuple[str, str, str, str, str]:
        """Table, ids, how many rows are read, how many there are, and how wide they are."""
        kernel = self.view.kernel
        self._one_output()
        value = kernel.stores[0].value
        if not isinstance(value, Load) or not isinstance(value.index[0], Indirect):
            raise UnsupportedError("pallas gathers whole rows of a table")
        ids = value.index[0].value
        rest = tuple(Name(a.name) for a in kernel.rows)
        whole = isinstance(ids, Load) and (*ids.index, *value.index[1:]) == rest
        extents = tuple(a.extent for a in kernel.rows)
        if not isinstance(ids, Load) or not whole or value.guard or ids.guard:
            raise UnsupportedError("pallas gathers whole rows of a table, one after the other")
        if (*ids.shape, *value.shape[1:]) != extents or kernel.stores[0].index != rest:
            raise UnsupportedError("pallas gathers rows of a table that are as wide as the result")
        count = to_python(product(list(ids.shape)))
        width = to_python(product(list(value.shape[1:])))
        return value.tensor, ids.tensor, count, to_python(value.shape[0]), width

    def window_load(self) -> Load:
        """The load under the window."""
        value = self.view.kernel.reductions[0].value
        found = [v for v in walk_value(value) if isinstance(v, Load)]
        slid = [v for v in found if any(affine_size(i) > 1 for i in v.index)]
        if len(slid) != 1 or len(slid[0].index) != 4:
            raise UnsupportedError("pallas slides 2-D windows over one buffer")
        return slid[0]


def affine_size(index: Expression) -> int:
    """How many lower-case names (axes) move an index."""
    return sum(1 for n in index_names(index) if n.islower())


def _negated(expression: Expression) -> Expression:
    from mkgen.expression import Binary

    if isinstance(expression, Binary) and expression.op == "-" and expression.left == Int(0):
        return expression.right
    return Int(0) - expression

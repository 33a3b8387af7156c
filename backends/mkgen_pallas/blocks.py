"""How a piece becomes one pallas_call over blocks, whatever it reads.

Axes that every load walks plainly (a whole dimension, in order) may lie in a block: one group of
them along the sublanes, one along the lanes. All other axes are axes of the grid: there an index
is a number, so that the index map of a block may compute anything. Operands are permuted outside
so that the blocked dimensions come last. What no block dimension walks is read by rows of 128
and picked from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mkgen.codegen.printer import Scope
from mkgen.expression import Binary, Expression, Int, Name, names, product, walk
from mkgen.ir.nest import (
    Apply,
    Axis,
    Bound,
    Graph,
    Indirect,
    Load,
    Value,
    index_names,
    loads,
    value_names,
)  # fmt: skip
from mkgen_pallas.block_call import (
    Call,
    Feed,
    Group,
    Tile,
    both,
    less_one,
    mentions,
    moves,
    tight,
)
from mkgen_pallas.pieces import Piece, plainly, positions

if TYPE_CHECKING:
    from mkgen_pallas.printer import PallasPrinter

#: Tiles of a block that has lanes only, so that it is not too small to be worth a step.
ALONE = 32
_FLOATS = ("float16", "bfloat16")
_WIDENED = ("int64", "int16", "int8", "uint8")


class BlockPlanner:
    """Plans the call of one piece."""

    def __init__(
        self,
        piece: Piece,
        graph: Graph,
        printer: PallasPrinter,
        tile: str,
        shapes: dict[str, tuple[Expression, ...]],
    ) -> None:
        self.piece, self.graph, self.printer, self.tile = piece, graph, printer, tile
        self.shapes = shapes
        self.loads = loads(piece.value)
        self.taken = {a.name for a in piece.axes} | {x.tensor for x in self.loads}
        self.taken |= {piece.result, "inside", "lane", "pl", "jnp", "jax", "pltpu"}
        self.alone = False
        self.taken |= {"pick_lane", "running_rows", "product", "terms"}
        self.feeds: list[Feed] = []
        self.lines: list[str] = []
        self.offsets: dict[str, str] = {}
        self.maps: dict[str, str] = {}
        self.known_feeds: dict[tuple[str, tuple[str, ...], tuple[str, ...]], str] = {}

    # -- which axes lie in blocks --------------------------------------------------------------

    def groups(self) -> list[Group]:
        """Axes that may lie in a block; those that all the same loads walk are merged."""
        named = [names(e) for e in positions(self.piece.value) if not isinstance(e, Indirect)]
        found: dict[object, list[Axis]] = {}
        for axis in self.piece.axes:
            if not all(plainly(load, axis) for load in self.loads):
                continue
            if not self._vector_safe(axis):
                continue
            uses = frozenset(
                load for load in self.loads if any(axis.name in index_names(i) for i in load.index)
            )
            alone = axis.kind == "scan" or any(axis.name in n for n in named)
            found.setdefault((axis.kind, uses, axis.name if alone else ""), []).append(axis)
        return [Group(tuple(axes)) for axes in found.values()]

    def _vector_safe(self, axis: Axis) -> bool:
        """Whether positions along `axis` are only added, scaled and compared."""
        for expression in positions(self.piece.value):
            if isinstance(expression, Indirect):
                if axis.name in index_names(expression):
                    return False
                continue
            for node in walk(expression):
                if isinstance(node, Binary) and node.op in ("+", "-", "*", "<", "<=", "==", "!="):
                    continue
                if not isinstance(node, Name | Int) and axis.name in names(node):
                    return False
        return True

    def users(self, group: Group) -> int:
        """How many loads walk the group."""
        return sum(1 for load in self.loads if moves(load, group))

    def choose(self) -> Tile:
        """Parallel axes along the lanes where there are any, then what is summed or scanned."""
        free = self.groups()
        if self.piece.combine == "prod" and not self.piece.of_kind("scan"):
            free = [g for g in free if g.kind != "reduce"]
        scan = next((g for g in free if g.kind == "scan"), None)
        order = {a.name: i for i, a in enumerate(self.piece.axes)}

        def rank(group: Group) -> tuple[int, int]:
            return self.users(group), order[group.axes[-1].name]

        parallel = sorted((g for g in free if g.kind == "parallel"), key=rank, reverse=True)
        reduced = sorted((g for g in free if g.kind == "reduce"), key=rank, reverse=True)
        wide = self._widest(parallel, scan or (reduced[0] if reduced else None))
        if wide:
            parallel.remove(wide)
        if scan:
            return Tile(scan, wide)
        if wide is None:
            wide = reduced.pop(0) if reduced else None
        rest = reduced or parallel
        if not rest and wide and len(wide.axes) > 1:  # two dimensions of a block from one group
            return Tile(Group(wide.axes[:-1]), Group(wide.axes[-1:]))
        return Tile(rest[0] if rest else None, wide)

    def _widest(self, parallel: Sequence[Group], high: Group | None) -> Group | None:
        """The group for the lanes: an operand that `high` alone walks uses one lane of 128."""
        if not parallel:
            return None

        def wasted(group: Group) -> int:
            lone = (x for x in self.loads if high and moves(x, high) and not moves(x, group))
            return sum(len(x.index) for x in lone)

        return min(parallel, key=wasted)  # of equals the first, which most operands walk

    def product_tile(self) -> tuple[Value, Value, Group, Group, Group] | None:
        """Left and right factor with the groups of rows, depth and columns of a matrix product."""
        value = self.piece.value
        is_product = (
            self.piece.combine == "sum"
            and isinstance(value, Apply)
            and value.operation == "mul"
            and value.dtype == "float32"
            and not self.piece.of_kind("scan")
        )
        if not is_product:
            return None
        left, right = value.children()
        found: dict[str, Group] = {}
        for group in self.groups():
            on_left = bool(value_names(left) & group.names)
            on_right = bool(value_names(right) & group.names)
            want = {
                ("reduce", True, True): "depth",
                ("parallel", True, False): "rows",
                ("parallel", False, True): "cols",
            }.get((group.kind, on_left, on_right))
            if want and (want not in found or len(group.axes) > len(found[want].axes)):
                found[want] = group
        if len(found) < 3:
            return None
        return left, right, found["rows"], found["depth"], found["cols"]

    # -- the call -----------------------------------------------------------------------------

    def plan(self, entry: str) -> Call:
        """The call, with `entry` as its name."""
        factors = self.product_tile()
        if factors is None:
            tile = self.choose()
            blocked: tuple[Group, ...] = tile.groups()
        else:
            left, right, rows, depth, cols = factors
            tile, blocked = Tile(rows, cols), (rows, depth, cols)
        self.alone = len(blocked) == 1 and blocked[0] is tile.wide
        self.grid = self._grid(blocked)
        self.known = {name for name, _ in self.grid}
        self.taken |= self.known
        if factors is None:
            value = self._value(self.piece.value, tile)
        else:
            value = self._product(left, right, rows, depth, cols)
        value = self._as_held(value)
        call = Call(
            entry=entry, result=self.piece.result, feeds=self.feeds, grid=self.grid,
            lines=self.lines, value=value, out_shape="", out_spec="", finish="",
            dtype=self._held(self.piece.dtype), form=self._form(factors is not None),
        )  # fmt: skip
        self._output(call, tile)
        if self.piece.combine:
            self._accumulate(call, tile, factors is not None)
        code = "\n".join((*call.lines, call.value, call.store, call.closed, call.first, call.last))
        call.maps = list(self.maps.values())
        call.variables = [n for n, _ in self.grid if mentions(code, n)]
        call.helpers = [h for h in ("pick_lane", "running_rows") if mentions(code, h)]
        return call

    def _as_held(self, code: str) -> str:
        """A value as its 32-bit dtype in the kernel: bool as 0 and 1."""
        dtype = self.piece.value.dtype
        if dtype == "bool":
            return f"jnp.where({code}, 1, 0)"
        if not self.piece.combine and self._held(dtype) != self._held(self.piece.dtype):
            return f"jnp.asarray({code}).astype(jnp.{self._held(self.piece.dtype)})"
        return code

    def _form(self, is_product: bool) -> str:
        if self.piece.of_kind("scan"):
            return "scan"
        if is_product:
            return "dot"
        return "reduce" if self.piece.combine else "each"

    def _grid(self, blocked: Sequence[Group]) -> list[tuple[str, str]]:
        """Parallel axes, then blocks of parallel groups, then what is scanned, then sums."""
        inside = frozenset().union(*(g.names for g in blocked), frozenset())
        made: list[tuple[str, str]] = []
        for kind in ("parallel", "scan", "reduce"):
            for axis in self.piece.of_kind(kind):
                if axis.name not in inside:
                    made.append((axis.name, self.code(axis.extent)))
            for group in blocked:
                if group.kind == kind:
                    extent = self.code(group.extent)
                    made.append((group.step, f"pl.cdiv({extent}, {self._size(group)})"))
        return made or [("only", "1")]

    def _size(self, group: Group | None) -> str:
        """Points of a block along one dimension: all of a short one; many where it is alone."""
        if group is None:
            return "1"
        tile = f"{ALONE} * {self.tile}" if self.alone else self.tile
        return f"min({self.code(group.extent)}, {tile})"

    def code(self, expression: Expression) -> str:
        """An index expression over grid variables as traced Python."""
        return self.printer.index(expression)

    # -- operands -----------------------------------------------------------------------------

    def _value(self, value: Value, tile: Tile) -> str:
        """`value` printed over blocks of `tile`; lines before it are appended."""
        scope = Scope(taken=self.taken)
        self._positions(value, tile)
        for load in loads(value):
            if not any(isinstance(i, Indirect) and loads(i.value) for i in load.index):
                scope.bound[load] = self._load(load, tile)
        self.printer.bind_shared([value], scope)
        text = self.printer.expression(value, scope)
        self.lines += scope.lines
        return text.code

    def _positions(self, value: Value, tile: Tile) -> None:
        """Lines that name the positions along blocked axes which the value uses."""
        used = frozenset().union(
            *(names(e) for e in positions(value) if not isinstance(e, Indirect)), frozenset()
        )
        for dimension, group in enumerate((tile.high, tile.wide)):
            if group is None or len(group.axes) > 1 or group.axes[0].name not in used:
                continue
            self._position(group, dimension, group.axes[0].name)

    def _position(self, group: Group, dimension: int, name: str) -> None:
        size = self._size(group)
        shape = f"({size}, 1)" if dimension == 0 else f"(1, {size})"
        iota = f"jax.lax.broadcasted_iota(jnp.int32, {shape}, {dimension})"
        line = f"{name} = {group.step} * {size} + {iota}"
        if line not in self.lines:
            self.lines.append(line)

    def _load(self, load: Load, tile: Tile) -> str:
        """The variable that holds a block of what `load` reads."""
        high = tile.high if tile.high and moves(load, tile.high) else None
        wide = tile.wide if tile.wide and moves(load, tile.wide) else None
        index = [self._clipped(load, i) for i in range(len(load.index))]
        if high is None and wide is None:
            read = self._scalar_feed(load, index)
        else:
            read = self._block_feed(load, index, high, wide)
        text = self._decoded(read, load)
        if load.guard:
            text = self._guarded(load, text)
        name = self._fresh(f"{load.tensor}_value")
        self.lines.append(f"{name} = {text}")
        return name

    def _clipped(self, load: Load, dimension: int) -> str:
        """One index as code; where a guard may fail it is kept inside the array."""
        part = load.index[dimension]
        if isinstance(part, Indirect):
            code = self.printer.expression(part.value, Scope(taken=self.taken)).code
        else:
            code = self.code(part)
        if not load.guard or isinstance(part, Int | Name) and not self._bounded(load, part):
            return code
        return f"jnp.clip({code}, 0, {self.code(load.shape[dimension])} - 1)"

    @staticmethod
    def _bounded(load: Load, part: Expression) -> bool:
        return any(b.index == part for b in load.guard)

    def _guarded(self, load: Load, text: str) -> str:
        checks = [c for bound in load.guard for c in self._checks(bound)]
        other = self.printer.literal(load.other or 0, load.dtype).code
        return f"jnp.where({' & '.join(checks)}, {text}, {other})"

    def _checks(self, bound: Bound) -> list[str]:
        index = bound.index
        if isinstance(index, Indirect):
            code = self.printer.expression(index.value, Scope(taken=self.taken)).code
        else:
            code = self.code(index)
        if not isinstance(index, Name):
            known = self.offsets.get(code)
            if known is None:
                wish = bound.extent.name.lower() if isinstance(bound.extent, Name) else "position"
                known = self.offsets[code] = self._fresh(wish)
                self.lines.append(f"{known} = {code}")
            code = known
        return [f"(0 <= {code})", f"({code} < {self.code(bound.extent)})"]

    def _block_feed(
        self, load: Load, index: list[str], high: Group | None, wide: Group | None
    ) -> str:
        place = {part.name: i for i, part in enumerate(load.index) if isinstance(part, Name)}
        last = [[place[a.name] for a in g.axes] if g else [] for g in (high, wide)]
        lead = [i for i in range(len(index)) if i not in (*last[0], *last[1])]
        order = [*lead, *last[0], *last[1]]
        shape = [self.code(load.shape[i]) for i in lead]
        shape += [self.code(high.extent) if high else "1", self.code(wide.extent) if wide else "1"]
        permuted = order != sorted(order)
        array = self._viewed(load, not permuted)
        seen = [self.code(d) for d in load.shape]
        if not permuted:
            seen = [self.code(d) for d in self.shapes[load.tensor]]
        if permuted:
            array = f"{array}.transpose({', '.join(map(str, order))})"
            seen = [seen[i] for i in order]
        if seen != shape:
            array = f"{array}.reshape({', '.join(shape)})"
        block = ["None"] * len(lead) + [self._size(high), self._size(wide)]
        at = [index[i] for i in lead] + [g.step if g else "0" for g in (high, wide)]
        return self._feed(load, array, block, at)

    def _scalar_feed(self, load: Load, index: list[str]) -> str:
        """One element: a row of 128 that holds it, and its place there."""
        if all(d == Int(1) for d in load.shape):
            one = f"{self._viewed(load, True)}.reshape(1, 1)"
            return self._feed(load, one, ["1", "1"], ["0", "0"])
        offset = index[0]
        for size, part in zip(load.shape[1:], index[1:], strict=True):
            offset = f"{tight(offset)} * {tight(self.code(size))} + {part}"
        offset = tight(offset)
        count = self.code(product(list(load.shape)))
        closed = tight(count)
        array = self._viewed(load, True)
        if len(self.shapes[load.tensor]) != 1:
            array = f"{array}.reshape({count})"
        array = f"jnp.pad({array}, (0, -{closed} % 128)).reshape(-1, 1, 128)"
        read = self._feed(load, array, ["None", "1", "128"], [f"{offset} // 128", "0", "0"])
        return f"pick_lane({read}, {offset} % 128)"

    def _feed(self, load: Load, array: str, block: list[str], at: list[str]) -> str:
        key = (array, tuple(block), tuple(at))
        if key in self.known_feeds:
            return f"{self.known_feeds[key]}[...]"
        name = load.tensor
        if name == self.piece.result or any(f.name == name for f in self.feeds):
            name = self._fresh(load.tensor)
        self.known_feeds[key] = name
        self.feeds.append(Feed(name, array, self._spec(block, at, name)))
        return f"{name}[...]"

    def _spec(self, block: list[str], at: list[str], owner: str) -> str:
        """The block, with an index map of its own where that is long."""
        variables = ", ".join(name for name, _ in self.grid)
        place = f"lambda {variables}: ({', '.join(at)})"
        if len(place) > 48:
            place = f"{owner}_block"
            self.maps[place] = f"def {place}({variables}):\n    return ({', '.join(at)})\n"
        return f"pl.BlockSpec(({', '.join(block)}), {place})"

    def _viewed(self, load: Load, reshaped: bool) -> str:
        """The array in a dtype that every TPU loads; with the load's shape, or `reshaped` later."""
        stored = self._stored(load)
        array = load.tensor
        if not reshaped and tuple(self.shapes[load.tensor]) != load.shape:
            array = f"{array}.reshape({', '.join(self.code(d) for d in load.shape)})"
        held = self._held(stored)
        if stored != held and stored != "int64":
            array = f"{array}.astype(jnp.{held})"
        return array

    def _stored(self, load: Load) -> str:
        info = self.graph.tensors.get(load.tensor)
        return info.dtype if info else load.dtype

    @staticmethod
    def _held(dtype: str) -> str:
        """The 32-bit dtype that stands for `dtype` inside a kernel."""
        if dtype in _FLOATS:
            return "float32"
        return "int32" if dtype == "bool" or dtype in _WIDENED else dtype

    def _decoded(self, read: str, load: Load) -> str:
        return f"{read} != 0" if load.dtype == "bool" else read

    # -- products -----------------------------------------------------------------------------

    def _product(self, left: Value, right: Value, rows: Group, depth: Group, cols: Group) -> str:
        """Both factors as matrices; beyond the end of the sum both are zero: 0 * NaN is NaN."""
        codes = []
        for value, tile in ((left, Tile(rows, depth)), (right, Tile(depth, cols))):
            code = self._value(value, tile)
            dimension = 1 if tile.wide is depth else 0
            name = self._fresh(f"{depth.axes[0].name}_{('down', 'across')[dimension]}")
            self._position(depth, dimension, name)
            codes.append(f"jnp.where({name} < {self.code(depth.extent)}, {code}, 0.0)")
        return ",\n".join(codes)

    # -- results ------------------------------------------------------------------------------

    def _output(self, call: Call, tile: Tile) -> None:
        piece = self.piece
        high = tile.high if tile.high and tile.high.kind != "reduce" else None
        wide = tile.wide if tile.wide and tile.wide.kind != "reduce" else None
        blocked = frozenset().union(*(g.names for g in (high, wide) if g), frozenset())
        extents = {a.name: a.extent for a in piece.axes}
        lead = [a for a in piece.axes if a.kind != "reduce" and a.name not in blocked]
        lead.sort(key=lambda a: [n for n, _ in self.grid].index(a.name))
        if high is None and wide is None and lead:
            self._scalar_output(call, lead)
            return
        shape = [self.code(a.extent) for a in lead]
        shape += [self.code(g.extent) if g else "1" for g in (high, wide)]
        block = ["None"] * len(lead) + [self._size(high), self._size(wide)]
        at = [a.name for a in lead] + [g.step if g else "0" for g in (high, wide)]
        call.out_shape = f"({', '.join(shape)})"
        call.out_spec = self._spec(block, at, piece.result)
        call.store = "{}"
        if call.form == "each" and not self._fills(high, wide):
            call.store = f"jnp.broadcast_to({{}}, {piece.result}.shape)"
        split = [*lead, *(high.axes if high else ()), *(wide.axes if wide else ())]
        names_now = [a.name for a in split]
        order = [names_now.index(n) for n in piece.out]
        seen = [self.code(extents[n]) for n in names_now]
        finish = ""
        if order != sorted(order):
            if seen != shape:
                finish = f".reshape({', '.join(seen)})"
            finish += f".transpose({', '.join(map(str, order))})"
            seen = [seen[i] for i in order]
        else:
            seen = shape
        call.finish = finish + self._last_view(seen)

    def _fills(self, *groups: Group | None) -> bool:
        """Whether the value has every blocked dimension of its own, so that it fills a block."""
        used = frozenset().union(
            *(names(e) for e in positions(self.piece.value) if not isinstance(e, Indirect)),
            frozenset(),
        )
        return all(
            g is None or g.names & used or any(moves(load, g) for load in self.loads)
            for g in groups
        )

    def _scalar_output(self, call: Call, lead: list[Axis]) -> None:
        """One element a step: a row of 128 stays in VMEM until all of it is there."""
        count = self.code(product([a.extent for a in lead]))
        closed = tight(count)
        offset = Name(lead[0].name)
        flat: Expression = offset
        for axis in lead[1:]:
            flat = flat * axis.extent + Name(axis.name)
        code = tight(self.code(flat))
        call.out_shape = f"(-(-{closed} // 128), 1, 128)"
        place = [f"{code} // 128", "0", "0"]
        call.out_spec = self._spec(["None", "1", "128"], place, self.piece.result)
        self.lines.insert(0, f"lane = {code} % 128")
        lanes = "jax.lax.broadcasted_iota(jnp.int32, (1, 128), 1)"
        call.store = f"jnp.where({lanes} == lane, {{}}, {self.piece.result}[...])"
        order = [[a.name for a in lead].index(n) for n in self.piece.out]
        finish = f".reshape(-1)[:{count}]"
        seen = [self.code(product([a.extent for a in lead]))]
        if order != sorted(order):
            finish += f".reshape({', '.join(self.code(a.extent) for a in lead)})"
            finish += f".transpose({', '.join(map(str, order))})"
            seen = [self.code(lead[i].extent) for i in order]
        call.finish = finish + self._last_view(seen)

    def _last_view(self, seen: list[str]) -> str:
        wanted = [self.code(d) for d in self.piece.shape]
        text = (
            "" if seen == wanted else f".reshape(({', '.join(wanted)}{',' * (len(wanted) == 1)}))"
        )
        if self._held(self.piece.dtype) != self.piece.dtype and self.piece.dtype != "int64":
            text += f".astype(jnp.{self.printer.dtype(self.piece.dtype)})"
        return text

    def _accumulate(self, call: Call, tile: Tile, is_product: bool) -> None:
        piece, combine = self.piece, self.piece.combine or ""
        dtype = self._held(piece.value.dtype)
        start = self.printer.start(combine, dtype)
        reduced = {a.name for a in piece.of_kind("reduce" if call.form != "scan" else "scan")}
        reduced |= {g.step for g in self.groups() if g.kind in ("reduce", "scan")}
        own = [(n, e) for n, e in self.grid if n in reduced]
        call.first = both([f"{n} == 0" for n, _ in own])
        call.last = both([f"{n} == {less_one(e)}" for n, e in own])
        call.start = start
        call.accumulator = self._fresh({"max": "best", "min": "best"}.get(combine, "total"))
        if call.form == "scan":
            self._scan(call, tile, combine, dtype)
            return
        size = f"({self._size(tile.high)}, {self._size(tile.wide)})"
        call.scratch = f"pltpu.VMEM({size}, jnp.{dtype})"
        if is_product:
            call.combined = f"{call.accumulator}[...] + product"
            call.closed = f"{call.accumulator}[...]"
            return
        checks = []
        closing = []
        for dimension, group in enumerate((tile.high, tile.wide)):
            if group is None or group.kind != "reduce":
                continue
            name = group.axes[0].name
            if len(group.axes) > 1 or not any(x.startswith(f"{name} = ") for x in call.lines):
                name = self._fresh(f"{name}_{('down', 'across')[dimension]}")
                self._position(group, dimension, name)
            checks.append(f"{name} < {self.code(group.extent)}")
            closing.append(dimension)
        value = call.value
        if checks:
            value = f"jnp.where({both(checks)}, {value}, {start})"
        held = f"{call.accumulator}[...]"
        if combine == "sum" and "float" in dtype and tile.high is None and tile.wide is None:
            # one term a step: as many roundings as terms
            call.lost = self._fresh("lost")
            call.scratch += f", {call.scratch}"
            call.value = value
        call.combined = self.printer.combine(combine, dtype, held, value)
        call.closed = held
        for dimension in reversed(closing):
            call.closed = f"jnp.{combine}({call.closed}, axis={dimension}, keepdims=True)"

    def _scan(self, call: Call, tile: Tile, combine: str, dtype: str) -> None:
        """The running result of a block, then what came before it; the last row is carried on."""
        high = self._size(tile.high)
        operation = {"sum": "jnp.add", "prod": "jnp.multiply"}.get(combine, f"jnp.{combine}imum")
        call.scratch = f"pltpu.VMEM((1, {self._size(tile.wide)}), jnp.{dtype})"
        block = f"jnp.broadcast_to({call.value}, ({high}, {self._size(tile.wide)}))"
        call.value = f"running_rows({block}, {operation}, {call.start})"
        call.combined = f"{operation}({call.accumulator}[...], {self.piece.result}_block)"

    def _fresh(self, wish: str) -> str:
        name, count = wish, 1
        while name in self.taken:
            count += 1
            name = f"{wish}{count}" if wish[-1].isalpha() else f"{wish}_{count}"
        self.taken.add(name)
        return name

"""What a lowering works with: operands in named sizes, fresh names, and emitting nests."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from mkgen.errors import UnsupportedError
from mkgen.expression import Expression, Int, Name, evaluate, product
from mkgen.frontend.literals import Literals
from mkgen.ir.nest import (
    WIDENED,
    Apply,
    Axis,
    Constant,
    Graph,
    Load,
    Nest,
    Store,
    TensorInfo,
    Value,
)  # fmt: skip

#: Words that mean something in a target language and so cannot name a variable there.
RESERVED = frozenset(keyword.kwlist) | frozenset(
    [
        "auto",
        "bool",
        "break",
        "case",
        "char",
        "class",
        "const",
        "constexpr",
        "continue",
        "default",
        "delete",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "half",
        "if",
        "inline",
        "int",
        "kernel",
        "local",
        "long",
        "namespace",
        "new",
        "operator",
        "private",
        "public",
        "register",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "template",
        "this",
        "thread",
        "typedef",
        "union",
        "unsigned",
        "using",
        "void",
        "volatile",
        "while",
        "global",
        "constant",
        "row",
        "col",
        "depth",
        "item",
        "sum",
        "value",
        "block",
        "group",
        "queue",
        "stream",
        "program",
        "grid",
        "tl",
        "jnp",
        "torch",
        "triton",
        "jax",
        "pl",
        "first",
        "last",
        "carry",
        "before",
        "running",
        "thread",
        "part",
        "recent",
        "held",
        "lost",
        "term",
        "grown",
    ]
)


@dataclass(frozen=True)
class Operand:
    """A tensor as a lowering sees it; one with another `shape` over the same name is a view.

    `dtype` is PyTorch's; `stored` the dtype in memory where that differs (a result of float16
    operands stays float32 between kernels).
    """

    name: str
    dtype: str
    shape: tuple[Expression, ...]
    stored: str = ""

    def at(self, *index: Expression) -> Load:
        """The load of one element, widened to the dtype that is computed in."""
        memory = self.stored or self.dtype
        computed = WIDENED.get(memory, memory)
        stored = "" if memory == computed else memory
        return Load(computed, self.name, self.shape, tuple(index), stored=stored)


@dataclass
class Context:
    """State of one lowering: the graph so far, and the concrete sizes of the traced example."""

    graph: Graph
    sizes: dict[str, int]
    taken: set[str] = field(default_factory=set)
    where: str = ""
    """The user's file and line of the node being lowered."""
    literals: Literals | None = None
    """What the numbers of the trace are at other sizes."""
    position: int = 0
    """The place of the node being lowered among the graph's calls."""
    updates: list[tuple[Operand, tuple[Axis, ...], Value]] = field(default_factory=list)
    """State that is written when all else is done: what, over which axes, the new value."""

    def fresh(self, wish: str) -> str:
        """A variable name like `wish` that nothing else has."""
        name, count = wish, 1
        while name in self.taken or name in RESERVED:
            count += 1
            name = f"{wish}{count}" if wish[-1].isalpha() else f"{wish}_{count}"
        self.taken.add(name)
        return name

    def derived(self, wish: str, expression: Expression) -> Name:
        """A named size that follows from others."""
        known = set(self.sizes) | {n.upper() for n in self.taken}
        name, count = wish, 1
        while name in known:
            count += 1
            name = f"{wish}{count}"
        self.graph.derived[name] = expression
        self.sizes[name] = evaluate(expression, self.sizes)
        return Name(name)

    def literal(self, *path: int | str) -> Expression:
        """The number at `path` of the current call's arguments, in named sizes.

        `literal(1, 0)` is `args[1][0]`, `literal("end")` is `kwargs["end"]`.
        """
        if self.literals is None:
            raise self.unsupported("a number of the trace, which only a traced task has,")
        return self.literals.number(self.position, path, self.where)

    def extent(self, dimension: Expression) -> int:
        """The traced value of a dimension."""
        return evaluate(dimension, self.sizes)

    def axes(
        self, dimensions: Sequence[Expression], kind: str = "parallel", avoid: Sequence[Axis] = ()
    ) -> tuple[Axis, ...]:
        """One axis per dimension, named after its size: ROWS -> row, C -> c, another C -> cc."""
        taken = {a.name for a in avoid} | set(self.graph.tensors) | RESERVED - {"row", "col"}
        made: list[Axis] = []
        for position, dimension in enumerate(dimensions):
            wish = axis_name(dimension, position)
            name, count = wish, 1
            while name in taken:
                count += 1
                # t and tt of a square: a letter with a number reads like a temporary
                name = wish * count if len(wish) == 1 else f"{wish}{count}"
            taken.add(name)
            made.append(Axis(name, dimension, kind))  # type: ignore[arg-type]
        return tuple(made)

    def emit(
        self,
        wish: str,
        axes: Sequence[Axis],
        value: Value,
        combine: str | None = None,
        dtype: str | None = None,
        tag: str = "",
    ) -> Operand:
        """A nest over `axes` storing to a new temporary over those that are not reduced."""
        name = self.fresh(wish)
        kept = tuple(a for a in axes if a.kind != "reduce")
        shape = tuple(a.extent for a in kept)
        index = tuple(Name(a.name) for a in kept)
        dtype = dtype or value.dtype
        self.graph.tensors[name] = TensorInfo(name, dtype, shape, "temporary")
        store = Store(name, shape, index, value, combine)
        self.graph.nests.append(Nest(name, tuple(axes), store, tag))
        return Operand(name, dtype, shape)

    def view(self, operand: Operand, shape: Sequence[Expression]) -> Operand:
        """`operand` in row-major order with other dimensions; nothing is computed or copied.

        Raises UnsupportedError when the number of elements differs.
        """
        before, after = (self.extent(product(list(s))) for s in (operand.shape, shape))
        if before != after:
            raise self.unsupported(f"a view of {before} elements as {after}")
        return replace(operand, shape=tuple(shape))

    def update(self, operand: Operand, axes: Sequence[Axis], value: Value) -> None:
        """Writes `value` over `axes`, one per dimension, to a state once all else is computed.

        Raises UnsupportedError when `operand` is no state: a reference may not change its inputs.
        """
        info = self.graph.tensors[operand.name]
        if info.role not in ("parameter", "state"):
            raise self.unsupported(f"{operand.name} is changed in place, but it is an {info.role}")
        self.graph.tensors[operand.name] = replace(info, role="state")
        self.updates = [u for u in self.updates if u[0].name != operand.name]
        self.updates.append((operand, tuple(axes), value))

    def pointwise(
        self, wish: str, compute: Callable[..., Value], *operands: Operand | float | int | bool
    ) -> Operand:
        """One value per element of the broadcast shape; numbers become constants."""
        tensors = [o for o in operands if isinstance(o, Operand)]
        shape = self.broadcast([t.shape for t in tensors])
        axes = self.axes(shape)
        dtype = promote([WIDENED.get(t.dtype, t.dtype) for t in tensors])
        values = [
            self.read(o, axes) if isinstance(o, Operand) else constant(o, dtype) for o in operands
        ]
        return self.emit(wish, axes, compute(*values))

    def read(self, operand: Operand, axes: Sequence[Axis]) -> Load:
        """`operand` broadcast against `axes`, aligned at the last dimension."""
        own = axes[len(axes) - len(operand.shape) :]
        index = [
            Int(0) if self.extent(d) == 1 and self.extent(a.extent) != 1 else Name(a.name)
            for d, a in zip(operand.shape, own, strict=True)
        ]
        return operand.at(*index)

    def broadcast(self, shapes: Sequence[tuple[Expression, ...]]) -> tuple[Expression, ...]:
        """PyTorch's broadcast of `shapes`."""
        rank = max((len(s) for s in shapes), default=0)
        result: list[Expression] = []
        for position in range(rank):
            options = [s[position - rank + len(s)] for s in shapes if position - rank + len(s) >= 0]
            wide = [d for d in options if self.extent(d) != 1]
            result.append(wide[0] if wide else options[0])
        return tuple(result)

    def unsupported(self, message: str) -> UnsupportedError:
        """An error that carries the user's line."""
        return UnsupportedError(f"{message}{self.where}")


def axis_name(dimension: Expression, position: int) -> str:
    """ROWS -> row, COLS -> col, C -> c; anything that is no name -> i0, i1."""
    if not isinstance(dimension, Name):
        return f"i{position}"
    name = dimension.name.lower()
    return name[:-1] if len(name) > 2 and name.endswith("s") else name


_ORDER = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32",
          "float64")  # fmt: skip


def promote(dtypes: Sequence[str]) -> str:
    """The dtype of an operation over values of `dtypes`."""
    return max(dtypes, key=_ORDER.index)


def constant(number: float | int | bool, dtype: str) -> Constant:
    """A literal of what `dtype` is computed in."""
    dtype = WIDENED.get(dtype, dtype)
    return Constant(dtype, float(number) if "float" in dtype else number)


def rooted(value: Value, name: str) -> Value:
    """`value` called `name` in the text, if it is computed and has no name."""
    return replace(value, name=name) if isinstance(value, Apply) and not value.name else value


def apply(operation: str, *args: Value, name: str = "") -> Apply:
    """An operation whose result has the promoted dtype, bool for comparisons."""
    if operation in ("lt", "le", "eq", "ne", "and", "or", "not", "isnan"):
        return Apply("bool", operation, args, name)
    operands = args[1:] if operation == "where" else args
    return Apply(promote([a.dtype for a in operands]), operation, args, name)


def cast(value: Value, dtype: str) -> Value:
    """`value` converted to what `dtype` is computed in."""
    dtype = WIDENED.get(dtype, dtype)
    return value if value.dtype == dtype else Apply(dtype, "cast", (value,))

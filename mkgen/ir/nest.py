"""The IR is data: axes, an expression DAG, stores.

Every lowering produces these, every backend reads them.

A `Nest` is a perfect loop nest: for all parallel axes, combine the value over all reduce axes and
store it. Layout operations (views, padding, transposes, gathers) are index expressions of loads,
so they fuse by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from mkgen.expression import Expression, Int, Name, evaluate, names, substitute, to_python

#: Scalar operations a printer must know, with their number of arguments.
OPERATIONS: dict[str, int] = {
    "add": 2, "sub": 2, "mul": 2, "div": 2, "neg": 1, "abs": 1, "maximum": 2, "minimum": 2,
    "exp": 1, "log": 1, "sqrt": 1, "rsqrt": 1, "erf": 1, "tanh": 1, "sigmoid": 1, "floor": 1,
    "pow": 2, "sin": 1, "cos": 1, "log1p": 1, "expm1": 1, "ceil": 1, "trunc": 1, "round": 1,
    "fmod": 2, "lt": 2, "le": 2, "eq": 2, "ne": 2, "and": 2, "or": 2, "not": 1, "isnan": 1,
    "where": 3, "cast": 1,
}  # fmt: skip

#: Dtypes that memory holds and nothing computes in -> what their values are computed in.
WIDENED = {"float16": "float32", "bfloat16": "float32"}

#: How a reduction combines, and what it starts from (None: the lowest or highest of the dtype).
COMBINES: dict[str, float | None] = {"sum": 0.0, "prod": 1.0, "max": None, "min": None}


@dataclass(frozen=True)
class Bound:
    """`0 <= index < extent` must hold for a load to touch memory. Both may depend on axes."""

    index: Expression
    extent: Expression


@dataclass(frozen=True)
class Value:
    """Base of the expression DAG. `dtype` is of the result."""

    dtype: str

    def children(self) -> tuple[Value, ...]:
        """The values this one is computed from."""
        return ()


@dataclass(frozen=True)
class Constant(Value):
    """A constant of the task: an epsilon, a slope."""

    value: float | int | bool


@dataclass(frozen=True)
class IndexValue(Value):
    """The value of an index expression: a position, a size."""

    expression: Expression


@dataclass(frozen=True)
class Indirect(Expression):
    """An index read from memory: `table[ids[b, t], d]`. Only as a whole component of an index."""

    value: Value


@dataclass(frozen=True)
class Load(Value):
    """`tensor[index]`, seen with `shape`; where a bound of `guard` fails the value is `other`.

    `dtype` is what is computed in; `stored` the dtype in memory where that is narrower: 16-bit
    floats are widened to float32 as they are loaded.
    """

    tensor: str
    shape: tuple[Expression, ...]
    index: tuple[Expression, ...]
    guard: tuple[Bound, ...] = ()
    other: float | None = None
    stored: str = ""

    def children(self) -> tuple[Value, ...]:
        """Indices read from memory."""
        return tuple(i.value for i in self.index if isinstance(i, Indirect))


@dataclass(frozen=True)
class Apply(Value):
    """`operation(args)`. `name` is the user's graph node it computes, empty inside one."""

    operation: str
    args: tuple[Value, ...]
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if OPERATIONS.get(self.operation) != len(self.args):
            raise ValueError(f"{self.operation} of {len(self.args)} arguments is not an operation")

    def children(self) -> tuple[Value, ...]:
        """The operands."""
        return self.args


@dataclass(frozen=True)
class Axis:
    """A loop. Its variable is `name`."""

    name: str
    extent: Expression
    kind: Literal["parallel", "reduce", "scan"] = "parallel"


@dataclass(frozen=True)
class Store:
    """`tensor[index] = value`, combined over the reduce axes when `combine` says how."""

    tensor: str
    shape: tuple[Expression, ...]
    index: tuple[Expression, ...]
    value: Value
    combine: str | None = None


@dataclass(frozen=True)
class Nest:
    """One loop nest. `tag` marks the region it came from: matmul, conv, pool, reduce, gather,
    scatter, update."""

    name: str
    axes: tuple[Axis, ...]
    store: Store
    tag: str = ""

    def of_kind(self, kind: str) -> tuple[Axis, ...]:
        """The axes of `kind`, outermost first."""
        return tuple(a for a in self.axes if a.kind == kind)


@dataclass(frozen=True)
class Loop:
    """Nests that run once per point of an axis, one round after the other: a recurrence.

    A load in `body` may use the axis only as the whole first component of its index: a round then
    sees one slice of that tensor. A tensor is read either by slices or whole, not both ways.
    """

    name: str
    axis: Axis
    body: tuple[Nest, ...]
    carried: tuple[tuple[str, str], ...]
    """(read, written): after a round `read` holds what the round stored to `written`. A nest before
    the loop stores its first value, which nothing but the loop reads; after the loop it holds the
    last."""
    collected: tuple[tuple[str, str], ...] = ()
    """(array, part): a round keeps what it stored to `part` as its own slice of `array`."""
    reverse: bool = False
    """Whether the rounds go from the axis' last point to its first."""

    def sliced(self) -> tuple[str, ...]:
        """Tensors of which a round sees one slice, in order of first use, collected ones last."""
        axis = Name(self.axis.name)
        found = (
            load.tensor
            for nest in self.body
            for load in loads(nest.store.value)
            if load.index and load.index[0] == axis
        )
        return tuple(dict.fromkeys((*found, *(array for array, _ in self.collected))))

    def writes(self) -> tuple[str, ...]:
        """Tensors that hold something else after the loop than before."""
        made = (n.store.tensor for n in self.body)
        kept = (name for pair in (*self.carried, *self.collected) for name in pair)
        return tuple(dict.fromkeys((*made, *kept)))


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of a graph. `shape` is in named sizes."""

    name: str
    dtype: str
    shape: tuple[Expression, ...]
    role: str
    """input, parameter, state, temporary or output."""


@dataclass
class Graph:
    """A lowered task: nests in order over named tensors and named sizes."""

    name: str
    tensors: dict[str, TensorInfo]
    nests: list[Nest | Loop]
    outputs: tuple[str, ...]
    """What is returned; state that is written comes beside it."""
    derived: dict[str, Expression]
    """Sizes that follow from the task's own: `P = (H + 2 * PAD_H - R) // STRIDE_H + 1`."""

    def sizes(self, given: Mapping[str, int]) -> dict[str, int]:
        """`given` sizes and every derived one, in order."""
        values = dict(given)
        for name, expression in self.derived.items():
            values[name] = evaluate(expression, values)
        return values

    def written_state(self) -> tuple[str, ...]:
        """State that some nest writes, in the module's own order."""
        written = {nest.store.tensor for nest in self.flat_nests()}
        return tuple(n for n, t in self.tensors.items() if t.role == "state" and n in written)

    def shape(self, tensor: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The concrete shape of `tensor`."""
        return tuple(evaluate(d, sizes) for d in self.tensors[tensor].shape)

    def flat_nests(self) -> Iterator[Nest]:
        """Every nest, those of loops too, in order."""
        for part in self.nests:
            yield from part.body if isinstance(part, Loop) else (part,)

    def loop(self, name: str) -> Loop:
        """The loop called `name`; KeyError when there is none."""
        for part in self.nests:
            if isinstance(part, Loop) and part.name == name:
                return part
        raise KeyError(name)

    def inside(self, loop: str) -> Graph:
        """What a round of `loop` sees: slices without their first dimension. "" is outside."""
        if not loop:
            return self
        sliced = self.loop(loop).sliced()
        tensors = {
            name: replace(info, shape=info.shape[1:]) if name in sliced else info
            for name, info in self.tensors.items()
        }
        return replace(self, tensors=tensors)


def walk_value(value: Value) -> Iterator[Value]:
    """`value` and everything below it, indices read from memory included."""
    yield value
    for child in value.children():
        yield from walk_value(child)


def loads(value: Value) -> tuple[Load, ...]:
    """Every load under `value`, each once, in order of first use."""
    return tuple(dict.fromkeys(v for v in walk_value(value) if isinstance(v, Load)))


def index_names(index: Expression) -> frozenset[str]:
    """Names an index component depends on, through memory too."""
    return value_names(index.value) if isinstance(index, Indirect) else names(index)


def value_names(value: Value) -> frozenset[str]:
    """Every axis and size name `value` depends on."""
    found: frozenset[str] = frozenset()
    if isinstance(value, IndexValue):
        found = names(value.expression)
    if isinstance(value, Load):
        for component in value.index:
            found |= index_names(component)
        for bound in value.guard:
            found |= names(bound.index) | names(bound.extent)
    for child in value.children():
        found |= value_names(child)
    return found


def map_value(value: Value, change: Callable[[Value], Value | None]) -> Value:
    """`value` with every node for which `change` gives a replacement replaced, from the top."""
    replaced = change(value)
    if replaced is not None:
        return replaced
    if isinstance(value, Apply):
        return replace(value, args=tuple(map_value(a, change) for a in value.args))
    if isinstance(value, Load):
        index = tuple(
            Indirect(map_value(i.value, change)) if isinstance(i, Indirect) else i
            for i in value.index
        )
        return replace(value, index=index)
    return value


def substitute_index(index: Expression, replacements: Mapping[str, Expression]) -> Expression:
    """An index component with axis names replaced, through memory too."""
    if isinstance(index, Indirect):
        return Indirect(substitute_value(index.value, replacements))
    return substitute(index, replacements)


def substitute_value(value: Value, replacements: Mapping[str, Expression]) -> Value:
    """`value` with axis names replaced by expressions."""

    def change(node: Value) -> Value | None:
        if isinstance(node, IndexValue):
            return replace(node, expression=substitute(node.expression, replacements))
        if isinstance(node, Load):
            return replace(
                node,
                index=tuple(substitute_index(i, replacements) for i in node.index),
                guard=tuple(
                    Bound(substitute(b.index, replacements), substitute(b.extent, replacements))
                    for b in node.guard
                ),
            )
        return None

    return map_value(value, change)


def round_body(loop: Loop) -> tuple[Nest, ...]:
    """The nests of one round over slices: loads without the loop's own index component.

    ValueError where the axis is used in any other way.
    """
    axis = Name(loop.axis.name)

    def change(value: Value) -> Value | None:
        if isinstance(value, Load) and value.index and value.index[0] == axis:
            inner = replace(value, shape=value.shape[1:], index=value.index[1:])
            return map_value(inner, change) if inner.children() else inner
        return None

    made = []
    for nest in loop.body:
        value = map_value(nest.store.value, change)
        if loop.axis.name in value_names(value):
            raise ValueError(f"{nest.name}: {loop.axis.name} is not the whole first index there")
        made.append(replace(nest, store=replace(nest.store, value=value)))
    return tuple(made)


def describe_shape(shape: tuple[Expression, ...], sizes: Mapping[str, int]) -> str:
    """`[4096, 1000]`."""
    return f"[{', '.join(str(evaluate(d, sizes)) for d in shape)}]"


def plain(index: Expression) -> str | None:
    """The name when `index` is just a name."""
    return index.name if isinstance(index, Name) else None


def is_one(extent: Expression) -> bool:
    """Whether an extent is the literal 1 (a broadcast dimension)."""
    return extent == Int(1)


def show(nest: Nest) -> str:
    """The nest on one line, for people and error messages."""
    axes = " ".join(f"{a.name}<{to_python(a.extent)}:{a.kind[0]}" for a in nest.axes)
    combine = f" {nest.store.combine}=" if nest.store.combine else " ="
    return f"{nest.name}[{axes}] {nest.store.tensor}{combine} {type(nest.store.value).__name__}"

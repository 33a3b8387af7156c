"""What every dialect's printer shares: turning a value DAG into declarations and one expression."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mkgen.expression import Binary, Expression, Int, Name, binary, product
from mkgen.ir.nest import (
    Apply,
    Axis,
    Constant,
    IndexValue,
    Indirect,
    Load,
    Store,
    Value,
    index_names,
    value_names,
    walk_value,
)  # fmt: skip

#: Binding strength of a printed expression; an operand weaker than its operator gets parentheses.
ATOM, UNARY, PRODUCT, SUM, COMPARE, AND, OR, SELECT = 9, 8, 7, 6, 5, 4, 3, 1


@dataclass(frozen=True)
class Text:
    """A printed expression and how strongly it binds."""

    code: str
    strength: int = ATOM

    def inside(self, strength: int) -> str:
        """The code, in parentheses where it binds more weakly than `strength`."""
        return self.code if self.strength >= strength else f"({self.code})"


@dataclass
class Scope:
    """What is known while printing one stretch of code."""

    bound: dict[Value, str] = field(default_factory=dict)
    """Values that already have a variable."""
    masks: dict[str, str] = field(default_factory=dict)
    """Block dialects: axis -> the variable that says where the axis is inside."""
    lines: list[str] = field(default_factory=list)
    """Declarations made so far."""
    indices: dict[Expression, str] = field(default_factory=dict)
    """Index expressions that already have a variable."""
    taken: set[str] = field(default_factory=set)
    """Variable names in use."""

    def inner(self) -> Scope:
        """A scope inside this one, with its own lines."""
        return Scope(dict(self.bound), dict(self.masks), [], dict(self.indices), set(self.taken))

    def fresh(self, wish: str) -> str:
        """A variable name like `wish`."""
        name, count = wish, 1
        while name in self.taken:
            count += 1
            name = f"{wish}{count}"
        self.taken.add(name)
        return name


class Printer(ABC):
    """Prints values of one dialect. Subclasses are mostly data: spellings and a load."""

    infix: Mapping[str, tuple[str, int]] = {
        "add": ("+", SUM), "sub": ("-", SUM), "mul": ("*", PRODUCT), "div": ("/", PRODUCT),
        "lt": ("<", COMPARE), "le": ("<=", COMPARE), "eq": ("==", COMPARE), "ne": ("!=", COMPARE),
        "and": ("&&", AND), "or": ("||", OR),
    }  # fmt: skip
    splits_axes = True
    """Whether flattened positions are taken apart into axes; not where blocks are given whole."""
    bind_loads = False
    """Whether every load gets a line of its own."""
    calls: Mapping[str, str]
    """Operation -> format with {0} {1}: `expf({0})`; always an atom."""

    @abstractmethod
    def literal(self, value: float | int | bool, dtype: str) -> Text:
        """A constant."""

    @abstractmethod
    def index(self, expression: Expression) -> str:
        """An index expression."""

    @abstractmethod
    def load(self, load: Load, offset: Text, scope: Scope) -> Text:
        """A read of memory at an element offset."""

    @abstractmethod
    def select(self, condition: Text, yes: Text, no: Text) -> Text:
        """The value of `where`."""

    @abstractmethod
    def cast(self, value: Text, source: str, dtype: str) -> Text:
        """A conversion."""

    @abstractmethod
    def declare(self, name: str, dtype: str, code: str) -> str:
        """A line that gives `code` a name."""

    @abstractmethod
    def declare_index(self, name: str, code: str) -> str:
        """A line that gives an index a name."""

    @abstractmethod
    def assign(self, target: str, code: str) -> str:
        """A line that assigns to an existing variable."""

    @abstractmethod
    def store(self, tensor: str, dtype: str, offset: str, code: str, source: str) -> str:
        """A write of `code`, a value of dtype `source`, to a tensor of `dtype`."""

    def masked_store(self, code: str, masks: Sequence[str]) -> str:
        """`code` under masks; dialects without masks guard by control flow instead."""
        return code

    def offset(
        self, shape: Sequence[Expression], index: Sequence[Expression], scope: Scope
    ) -> Text:
        """The element offset of `index` in a contiguous tensor, by Horner's rule."""
        total: Expression | None = None
        for size, part in zip(shape, index, strict=True):
            if isinstance(part, Indirect):
                part = Name(self.indirect(part, scope))
            total = part if total is None else total * size + part
        total = total if total is not None else Int(0)  # a tensor of no dimensions
        code = self.index(total)
        return Text(code, ATOM if code.isidentifier() or code.isdigit() else SUM)

    def indirect(self, part: Indirect, scope: Scope) -> str:
        """The variable that holds an index read from memory."""
        if part not in scope.indices:
            value = part.value
            wish = f"{value.tensor}_at" if isinstance(value, Load) else value_name(value)
            code = self.expression(value, scope).code
            name = scope.fresh(wish or "position")
            scope.lines.append(self.declare_index(name, code))
            scope.indices[part] = scope.bound[value] = name
        return scope.indices[part]

    def guarded(self, load: Load, scope: Scope) -> Load:
        """`load` with every guarded position named after the dimension it walks."""
        replaced: dict[Expression, Expression] = {}
        for bound in load.guard:
            if isinstance(bound.index, Name):
                continue
            if bound.index not in scope.indices:
                # it is called like the dimension it walks
                places = zip(load.shape, load.index, strict=True)
                walked = [size for size, index in places if index == bound.index]
                size = (*walked, bound.extent)[0]
                wish = "remainder" if size == Int(1) else "position"
                wish = size.name.lower() if isinstance(size, Name) else wish
                name = scope.fresh(wish)
                scope.lines.append(self.declare_index(name, self.index(bound.index)))
                scope.indices[bound.index] = name
            replaced[bound.index] = Name(scope.indices[bound.index])
        from dataclasses import replace

        return replace(
            load,
            index=tuple(replaced.get(i, i) for i in load.index),
            guard=tuple(replace(b, index=replaced.get(b.index, b.index)) for b in load.guard),
        )

    def expression(self, value: Value, scope: Scope) -> Text:
        """`value` as one expression; what it needs first is appended to `scope.lines`."""
        if value in scope.bound:
            return Text(scope.bound[value])
        if isinstance(value, Constant):
            return self.literal(value.value, value.dtype)
        if isinstance(value, IndexValue):
            return self.index_value(IndexValue(value.dtype, _known(value.expression, scope)))
        if isinstance(value, Load):
            load = self.guarded(value, scope)
            return self.load(load, self.offset(load.shape, load.index, scope), scope)
        if isinstance(value, Apply):
            return self.apply(value, [self.expression(a, scope) for a in value.args])
        raise TypeError(f"no printer for {type(value).__name__}")

    def index_value(self, value: IndexValue) -> Text:
        """An index as a value of its dtype."""
        code = self.index(value.expression)
        text = Text(code, ATOM if code.isidentifier() or code.isdigit() else SUM)
        return text if value.dtype.startswith("int") else self.cast(text, "int32", value.dtype)

    def apply(self, value: Apply, args: list[Text]) -> Text:
        """One operation over printed operands."""
        if value.operation in self.infix:
            sign, strength = self.infix[value.operation]
            right = strength + (0 if value.operation in ("and", "or") else 1)
            if value.operation in ("add", "mul") and args[1].strength == strength:
                right = strength + 1  # keeps the user's order of rounding visible
            return Text(f"{args[0].inside(strength)} {sign} {args[1].inside(right)}", strength)
        if value.operation == "neg":
            code = args[0].inside(UNARY)  # C reads two signs in a row as a decrement
            return Text(f"-({code})" if code.startswith("-") else f"-{code}", UNARY)
        if value.operation == "where":
            return self.select(*args)
        if value.operation == "cast":
            return self.cast(args[0], value.args[0].dtype, value.dtype)
        return Text(self.calls[value.operation].format(*(a.code for a in args)))

    def bind_shared(self, values: Sequence[Value], scope: Scope) -> None:
        """Declares every value that is used more than once and has a name worth giving."""
        uses: Counter[Value] = Counter()
        order: list[Value] = []
        inside_index: set[Value] = set()

        def count(value: Value) -> None:
            uses[value] += 1
            if uses[value] == 1:
                if isinstance(value, Load):
                    inside_index.update(value.children())
                if value not in scope.bound:
                    for child in value.children():
                        count(child)
                order.append(value)

        for value in values:
            count(value)
        for value in order:
            wish = value_name(value)
            often = uses[value] > 1 or (self.bind_loads and isinstance(value, Load))
            often = often or (value not in values and _long(value))
            if often and wish and value not in scope.bound and value not in inside_index:
                name = scope.fresh(wish)
                code = self.expression(value, scope).code
                scope.lines.append(self.declare(name, value.dtype, code))
                scope.bound[value] = name


def _known(expression: Expression, scope: Scope) -> Expression:
    """`expression` with the parts that already have a variable named by it."""
    if expression in scope.indices:
        return Name(scope.indices[expression])
    if isinstance(expression, Binary):
        left, right = (_known(e, scope) for e in (expression.left, expression.right))
        return binary(expression.op, left, right)
    return expression


def _long(value: Value) -> bool:
    """Whether a named value is so large that it reads better on a line of its own."""
    return isinstance(value, Apply) and value.name != "" and sum(1 for _ in walk_value(value)) > 5


def value_name(value: Value) -> str:
    """The variable name a value asks for: the user's node, or what it was loaded from."""
    if isinstance(value, Apply):
        return value.name
    return f"{value.tensor}_value" if isinstance(value, Load) else ""


def decompose(axes: Sequence[Axis], flat: Expression) -> dict[str, Expression]:
    """Each axis of a flattened group: the fastest is the remainder, the slowest needs none."""
    found: dict[str, Expression] = {}
    for position, axis in enumerate(axes):
        inner = product([a.extent for a in axes[position + 1 :]])
        index = flat // inner
        found[axis.name] = index if position == 0 else index % axis.extent
    return found


def flatten(load: Load, axes: Sequence[Axis], flat: str) -> Load:
    """`load` with the indices of `axes` replaced by one where they walk neighbouring dimensions."""
    from dataclasses import replace

    seen = flatten_index(load.shape, load.index, axes, flat)
    return replace(load, shape=seen[0], index=seen[1])


def flatten_index(
    shape: tuple[Expression, ...], index: tuple[Expression, ...], axes: Sequence[Axis], flat: str
) -> tuple[tuple[Expression, ...], tuple[Expression, ...]]:
    """Shape and index with neighbouring dimensions walked by `axes` merged into one."""
    wanted = tuple(Name(a.name) for a in axes)
    group = {a.name for a in axes}
    for first in range(len(index) - len(axes) + 1):
        part = slice(first, first + len(axes))
        rest = (*index[:first], *index[first + len(axes) :])
        if (
            index[part] == wanted
            and tuple(a.extent for a in axes) == shape[part]
            and not any(index_names(i) & group for i in rest)
        ):
            merged = product([a.extent for a in axes])
            return (
                (*shape[:first], merged, *shape[first + len(axes) :]),
                (*index[:first], Name(flat), *index[first + len(axes) :]),
            )
    return shape, index


def flatten_value(value: Value, axes: Sequence[Axis], flat: str) -> Value:
    """`value` with every load flattened over `axes`."""
    from dataclasses import replace

    from mkgen.ir.nest import map_value

    def change(node: Value) -> Value | None:
        if isinstance(node, Load) and not node.guard:
            inner = replace(
                node,
                index=tuple(
                    Indirect(flatten_value(i.value, axes, flat)) if isinstance(i, Indirect) else i
                    for i in node.index
                ),
            )
            return flatten(inner, axes, flat)
        return None

    return map_value(value, change)


def flatten_store(store: Store, axes: Sequence[Axis], flat: str) -> Store:
    """`store` with its own index and every load flattened over `axes`."""
    from dataclasses import replace

    shape, index = flatten_index(store.shape, store.index, axes, flat)
    return replace(store, shape=shape, index=index, value=flatten_value(store.value, axes, flat))


def used_axes(values: Sequence[Value], stores: Sequence[Store], axes: Sequence[Axis]) -> set[str]:
    """Which of `axes` any value or store index still names."""
    found: frozenset[str] = frozenset()
    for value in values:
        found |= value_names(value)
    for store in stores:
        found |= value_names(store.value)
        for index in store.index:
            found |= index_names(index)
    return {a.name for a in axes} & found


def number(value: float) -> str:
    """The shortest decimal that reads back as the same float32, with a point."""
    import numpy as np

    if value == int(value) and abs(value) < 1e7:
        return f"{value:.1f}"
    return str(np.float32(value))

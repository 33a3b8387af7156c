"""One pallas_call over blocks as data, and the small texts it is put together from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mkgen.expression import Expression, product
from mkgen.ir.nest import (
    Axis,
    Load,
    index_names,
)  # fmt: skip

if TYPE_CHECKING:
    pass

#: Tiles of a block that has lanes only, so that it is not too small to be worth a step.
ALONE = 32
_FLOATS = ("float16", "bfloat16")
_WIDENED = ("int64", "int16", "int8", "uint8")


@dataclass(frozen=True)
class Group:
    """Axes that lie in a block together, merged into one dimension."""

    axes: tuple[Axis, ...]

    @property
    def kind(self) -> str:
        """parallel, reduce or scan."""
        return self.axes[0].kind

    @property
    def names(self) -> frozenset[str]:
        """Of its axes."""
        return frozenset(a.name for a in self.axes)

    @property
    def extent(self) -> Expression:
        """Points of the whole group."""
        return product([a.extent for a in self.axes])

    @property
    def step(self) -> str:
        """The grid's variable: which block of the group."""
        return f"{self.axes[0].name}_block"


@dataclass(frozen=True)
class Tile:
    """What lies along the sublanes and the lanes of a block."""

    high: Group | None
    wide: Group | None

    def groups(self) -> tuple[Group, ...]:
        """Those there are."""
        return tuple(g for g in (self.high, self.wide) if g)


@dataclass
class Feed:
    """One operand of the call: the array, how it is laid out, and its block."""

    name: str
    """In the kernel."""
    array: str
    """In the launcher: `x.transpose(2, 3, 0, 1)`."""
    spec: str
    """`pl.BlockSpec(...)`."""


@dataclass
class Call:
    """Everything a template needs to print one pallas_call."""

    entry: str
    result: str
    feeds: list[Feed]
    grid: list[tuple[str, str]]
    """Variable and extent of every grid axis, the last fastest."""
    lines: list[str]
    """Before the value: positions, loads."""
    value: str
    out_shape: str
    out_spec: str
    finish: str
    """The launcher's expression of the result, over the call's own: `.transpose(0, 3, 1, 2)`."""
    dtype: str
    form: str
    """each (one value per element), reduce, dot, scan."""
    first: str = ""
    """Whether this step begins a sum: `(r == 0) & (s == 0)`."""
    last: str = ""
    scratch: str = ""
    start: str = ""
    combined: str = ""
    """reduce, dot: `total[...] + value`."""
    closed: str = ""
    """The accumulator combined within the block."""
    store: str = ""
    accumulator: str = "total"
    lost: str = ""
    """What the additions of a sum have rounded off so far; empty where nothing keeps it."""
    variables: list[str] = field(default_factory=list)
    """Grid axes that the body names."""
    helpers: list[str] = field(default_factory=list)
    """Functions of the file that the body calls: pick_lane, running_rows."""
    maps: list[str] = field(default_factory=list)
    """Index maps that are too long to stand in their block's line."""


def moves(load: Load, group: Group) -> bool:
    """Whether `load` walks the group's axes."""
    return any(index_names(i) & group.names for i in load.index)


def both(checks: list[str]) -> str:
    """Conditions joined; `only == 0`, always true, for none."""
    if len(checks) < 2:
        return checks[0] if checks else "only == 0"
    return " & ".join(f"({c})" for c in checks)


def tight(code: str) -> str:
    """Code that any operator may follow."""
    return code if code.replace("_", "").isalnum() or is_call(code) else f"({code})"


def is_call(code: str) -> bool:
    """Whether `code` is one call and nothing after it."""
    head, bracket, rest = code.partition("(")
    depth = 1
    for at, letter in enumerate(rest):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return bool(head.replace(".", "").replace("_", "").isalnum() and at == len(rest) - 1)
    return False


def less_one(extent: str) -> str:
    """`extent - 1`, a number where it is one."""
    return str(int(extent) - 1) if extent.isdigit() else f"{extent} - 1"


def mentions(code: str, name: str) -> bool:
    """Whether `name` stands in `code` as a word."""
    return re.search(rf"\b{name}\b", code) is not None

"""Behaviour descriptors: what a kernel does rather than how fast it is, on three ordered axes.

A cell is one value on each axis. It is read from the words of the text, without its comments and
strings, and from the launches of its program at full size. Which words mean what is the backends'
data (`Backend.traits`). Readings are coarse on purpose: an archive keeps apart what is built
differently, and a text that hides what it does only hides in the wrong cell.

- Memory: `fed` or `shared` where the text has such words, else `registers`.
- Arithmetic unit: `matrix` or `vector` likewise, else `scalar`.
- Decomposition: `split` for several launches, or for words that combine the results of blocks;
  `row` where threads of a block combine values; `tile` where a block stages data, feeds a matrix
  unit, has two dimensions, or a thread makes more than MANY elements; else `element`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from itertools import product

from mkgen.codegen.backend import Backend, Trait
from mkgen.codegen.candidate import Generator
from mkgen.evaluate.limits import profile_of
from mkgen.profile import HardwareProfile
from mkgen.program import Functional, Launch, Program, Simt
from mkgen.target import Target
from mkgen.task import Task

#: Elements of a thread that still are one vector of the narrowest dtype a text loads at once.
MANY = 8
#: Peaks that only matrix units have.
_MATRIX_PEAKS = ("peak_tf32", "peak_bfloat16")


class Memory(StrEnum):
    """Where values wait that are used more than once."""

    REGISTERS = "registers"
    SHARED = "shared"
    """Shared or local memory, VMEM scratch."""
    FED = "fed"
    """Filled asynchronously or by blocks: cp.async, TMA, block loads."""


class Decomposition(StrEnum):
    """How the work is spread over the device."""

    ELEMENT = "element"
    """An element per thread."""
    TILE = "tile"
    """A tile per block."""
    ROW = "row"
    """A row per block: its threads combine what they have."""
    SPLIT = "split"
    """Several kernels, or sums that several blocks have parts of."""


class Unit(StrEnum):
    """What computes."""

    SCALAR = "scalar"
    VECTOR = "vector"
    MATRIX = "matrix"


Value = Memory | Decomposition | Unit
"""A value on any of the axes."""


@dataclass(frozen=True)
class Cell:
    """One value on each axis."""

    memory: Memory
    decomposition: Decomposition
    unit: Unit

    def __str__(self) -> str:
        return f"{self.memory}/{self.decomposition}/{self.unit}"

    @property
    def values(self) -> tuple[Memory, Decomposition, Unit]:
        """On the axes in order."""
        return self.memory, self.decomposition, self.unit

    @property
    def words(self) -> str:
        """For prompts: `shared memory, a row per block, vector arithmetic`."""
        return ", ".join(WORDS[value] for value in self.values)


WORDS: dict[Value, str] = {
    Memory.REGISTERS: "registers only",
    Memory.SHARED: "shared memory",
    Memory.FED: "memory filled asynchronously or by blocks",
    Decomposition.ELEMENT: "an element per thread",
    Decomposition.TILE: "a tile per block",
    Decomposition.ROW: "a row per block",
    Decomposition.SPLIT: "several kernels or sums split over blocks",
    Unit.SCALAR: "scalar arithmetic",
    Unit.VECTOR: "vector arithmetic",
    Unit.MATRIX: "matrix units",
}

CELLS = tuple(
    Cell(memory, decomposition, unit)
    for memory, decomposition, unit in product(Memory, Decomposition, Unit)
)
"""Every cell, in the order of the axes."""

# a string that is assembler is code
_NOT_CODE = re.compile(
    r"(?P<kept>\b(?:asm|__asm__|__asm)\b\s*(?:volatile|__volatile__)?\s*\(\s*"
    r'(?:"(?:\\.|[^"\\\n])*"\s*)+)'
    r"|//[^\n]*|/\*.*?(?:\*/|\Z)"
    r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'',
    re.DOTALL,
)
_NOT_PYTHON = re.compile(
    r'(?P<kept>(?!))|"""(?:\\.|[^\\])*?(?:"""|\Z)|\'\'\'(?:\\.|[^\\])*?(?:\'\'\'|\Z)'
    r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*',
    re.DOTALL,
)


@cache
def neighbours(cell: Cell) -> tuple[Cell, ...]:
    """Cells that differ from `cell` on one axis."""
    pairs = ((other, zip(cell.values, other.values, strict=True)) for other in CELLS)
    return tuple(other for other, values in pairs if sum(a != b for a, b in values) == 1)


def describe(text: str, program: Program, backend: Backend) -> Cell:
    """The cell of a native file; `program` is made of it, at full size."""
    code = code_of(text, python=backend.extension == ".py")

    def shows(trait: Trait) -> int:
        pattern = _pattern(backend.traits.get(trait, ""))
        return sum(1 for _ in pattern.finditer(code)) if pattern else 0

    memory = Memory.REGISTERS
    if shows("fed"):
        memory = Memory.FED
    elif shows("shared"):
        memory = Memory.SHARED
    unit = Unit.SCALAR
    if shows("matrix"):
        unit = Unit.MATRIX
    elif shows("vector"):
        unit = Unit.VECTOR
    lanes = backend.archs[program.target.arch].sub_group
    if len(program.launches) > 1 or shows("call") > 1 or shows("split"):
        decomposition = Decomposition.SPLIT
    elif shows("row"):
        decomposition = Decomposition.ROW
    elif (
        memory is not Memory.REGISTERS
        or unit is Unit.MATRIX
        or shows("tile")
        or any(_per_thread(program, launch, lanes) > MANY for launch in program.launches)
    ):
        decomposition = Decomposition.TILE
    else:
        decomposition = Decomposition.ELEMENT
    return Cell(memory, decomposition, unit)


def code_of(text: str, *, python: bool) -> str:
    """`text` without comments and strings; strings of C's inline assembler stay."""
    pattern = _NOT_PYTHON if python else _NOT_CODE
    return pattern.sub(lambda match: match["kept"] or " ", text)


def reachable(task: Task, backend: Backend, target: Target) -> tuple[Cell, ...]:
    """Cells that a text for `task` may be in, in order. UnsupportedError.

    Computed from the task's fused kernels, the backend's words and the device's profile. A cell
    is left out where

    - the backend has no words for its memory tier or unit: nothing could be seen to be there;
    - it has matrix units, but no fused kernel is a contraction, or the device states no peak that
      only such units reach;
    - it has a row per block, but no kernel combines values (all are pointwise);
    - it is split, but there is one kernel, and that is pointwise: it has no parts to combine;
    - it has an element per thread and stages data, or uses matrix units: by the definition of a
      tile; or the backend's launches are of blocks (functional dialects).

    Several fused kernels leave cells of one launch reachable: an author may fuse further than we.
    What is left can be said, which is not that it is sensible.
    """
    generator = Generator(task, backend, target, task.precision)
    kinds = [kernel.kind for kernel in generator.kernels]
    profile = profile_of(backend, target)
    missing: set[Value] = {
        value
        for value, trait in _NEEDED.items()
        if trait not in backend.traits
    }  # fmt: skip
    if "contraction" not in kinds or not _has_matrix_units(profile):
        missing.add(Unit.MATRIX)
    if all(kind == "pointwise" for kind in kinds):
        missing.add(Decomposition.ROW)
        if len(kinds) == 1:
            missing.add(Decomposition.SPLIT)
    if "call" in backend.traits:
        missing.add(Decomposition.ELEMENT)
    return tuple(c for c in CELLS if not missing & {*c.values} and _consistent(c))


_NEEDED: dict[Value, Trait] = {
    Memory.SHARED: "shared", Memory.FED: "fed", Unit.VECTOR: "vector", Unit.MATRIX: "matrix",
}  # fmt: skip


def _consistent(cell: Cell) -> bool:
    plain = cell.memory is Memory.REGISTERS and cell.unit is not Unit.MATRIX
    return plain or cell.decomposition is not Decomposition.ELEMENT


def _has_matrix_units(profile: HardwareProfile) -> bool:
    return any(fact in _MATRIX_PEAKS or fact.endswith("_matrix") for fact in profile.facts)


def _per_thread(program: Program, launch: Launch, lanes: int) -> float:
    """Elements that a thread of `launch` writes, on average."""
    configuration = launch.configuration
    if isinstance(configuration, Functional):
        return math.inf
    threads = (
        math.prod(configuration.block)
        if isinstance(configuration, Simt)
        else configuration.warps * lanes
    )
    written = max((math.prod(program.buffer(name).shape) for name in launch.writes), default=0)
    return written / (threads * math.prod(configuration.grid))


@lru_cache(maxsize=256)
def _pattern(words: str) -> re.Pattern[str] | None:
    return re.compile(words) if words else None

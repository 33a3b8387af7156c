"""The launches of one program, and what a dialect prints of them."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mkgen.codegen.printer import Printer
from mkgen.codegen.view import View
from mkgen.expression import Expression
from mkgen.program import (
    Buffer,
    Configuration,
    Glue,
    Source,
    Step,
)  # fmt: skip


@dataclass(frozen=True)
class LaunchPlan:
    """One launch with its expressions still over names: what a launcher prints."""

    entry: str
    arguments: tuple[str, ...]
    writes: tuple[str, ...]
    grid: tuple[Expression, Expression, Expression]
    block: tuple[Expression, Expression, Expression]
    dynamic_shared: Expression
    constexprs: dict[str, Expression]
    warps: Expression
    stages: Expression
    rank: int = 1
    """Axes of the grid the kernel knows about."""
    loop: str = ""
    """The loop it is launched in, once a round."""
    call: str = ""
    """Functional dialects: the lines of the host function that make the call."""
    named: bool = False
    """Block dialects: whether constants are passed by name, in the head of a user's own kernel."""


@dataclass(frozen=True)
class LoopPlan:
    """A loop around launches with its expressions still over names."""

    variable: str
    """Counts the rounds: the loop's axis, `t`."""
    count: Expression
    swaps: tuple[tuple[str, str], ...]
    """(read, written): pairs of buffers that change places after a round."""
    slices: dict[str, Expression]
    """Buffers of which a round sees one slice -> elements of a slice."""
    stacks: tuple[tuple[str, str], ...]
    """(array, part): what the loop itself puts together, where no kernel does."""
    reverse: bool

    @property
    def span(self) -> tuple[str, ...]:
        """Buffers that enter a round as slices, those the loop puts together left out."""
        made = {array for array, _ in self.stacks}
        return tuple(name for name in self.slices if name not in made)


@dataclass(frozen=True)
class Plan:
    """What a dialect needs to print a launcher."""

    name: str
    """The task: `conv2d`."""
    title: str
    """What it computes, one sentence."""
    launcher: str
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    temporaries: tuple[Buffer, ...]
    shapes: dict[str, tuple[Expression, ...]]
    launches: tuple[LaunchPlan, ...]
    parameters: dict[str, int]
    """Constants of the variant."""
    glue: tuple[Glue, ...] = ()
    loops: dict[str, LoopPlan] = field(default_factory=dict)

    def parts(self) -> list[tuple[LoopPlan | None, tuple[LaunchPlan, ...]]]:
        """The launches in order, those of a loop together with it."""
        grouped = itertools.groupby(self.launches, key=lambda launch: launch.loop)
        return [(self.loops.get(name), tuple(group)) for name, group in grouped]

    @property
    def writable(self) -> frozenset[str]:
        """Names of the buffers the launcher writes: outputs, temporaries, state that changes."""
        own = {b.name for b in (*self.outputs, *self.temporaries)}
        return frozenset(own | {name for launch in self.launches for name in launch.writes})

    @property
    def updated(self) -> tuple[Buffer, ...]:
        """State that the launcher changes."""
        return tuple(b for b in self.inputs if b.name in self.writable)


class DialectPrinter(Printer):
    """A printer that can also lay out a whole file."""

    extension: str
    separator = "\n"
    """Between kernels of one file."""
    tiles_last_axis = False
    """Whether a block spans the fastest axis, so that fusion leaves it alone."""
    stacks = False
    """Whether a loop of the language keeps what its rounds make (jax.lax.scan)."""
    shuffles = False
    """Whether lanes can exchange values, or the language reduces over a work-group itself."""
    splits = False
    """Whether matrix units multiply float32 as several bfloat16 products."""

    @abstractmethod
    def preamble(self, body: str) -> str:
        """Includes or imports that `body` needs."""

    @abstractmethod
    def sizes(self, constants: Mapping[str, int], index_bits: int) -> str:
        """The block of named compile-time constants."""

    @abstractmethod
    def parameters(self, groups: Sequence[Mapping[str, int]]) -> str:
        """The constants of the variant, those of each kernel together."""

    @abstractmethod
    def launcher_name(self, task: str, dtype: str) -> str:
        """Name of the host function."""

    @abstractmethod
    def launcher(self, plan: Plan) -> str:
        """The host function, part of the kernel's file."""

    def companions(self, plan: Plan, head: str, sizes: str) -> tuple[Source, ...]:
        """Further sources: a host launcher in a file of its own."""
        return ()

    @abstractmethod
    def comment(self, lines: Sequence[str]) -> str:
        """A head comment."""

    @abstractmethod
    def configuration(self, launch: LaunchPlan, values: Mapping[str, int]) -> Configuration:
        """The launch as data."""

    def finish(
        self, text: str, known: Mapping[str, int], plan: LaunchPlan
    ) -> tuple[str, LaunchPlan]:
        """A kernel's text and launch once both are known; `known` are sizes and parameters."""
        return text, plan

    def steps(self, steps: tuple[Step, ...], plan: Plan, launcher: str) -> tuple[Step, ...]:
        """The program's steps: launches and loops, and what the launcher does between them."""
        return steps

    def configuration_offsets(self, loop: LoopPlan | None, launch: LaunchPlan) -> tuple[str, ...]:
        """Arguments behind which the kernel takes the element at which they begin."""
        return ()

    def helpers(self, body: str) -> str:
        """Small functions that printed expressions call."""
        return ""

    def context(self, view: View, index_bits: int) -> dict[str, Any]:
        """Names a template of this dialect may use beside the common ones."""
        return {"t": self}

    language: Literal["cuda", "hip", "opencl", "sycl", "triton", "pallas"]

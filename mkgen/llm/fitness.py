"""How good a kernel is that passed: its measured time, else an order by what is known statically.

The static score is a share between 0 and 1, the product of

- traffic: bytes that the task must move over those that the buffers of all launches hold;
- occupancy: the share of a compute unit's threads that registers and shared memory leave room for,
  of the kernel that leaves least; 1 where the compiler or the profile does not say;
- fill: blocks over compute units, at most 1, of the launch that has fewest;

over 1 plus the registers spilled. It puts kernels in an order and says nothing of seconds.
"""

from __future__ import annotations

import math
from typing import Literal

from mkgen.codegen.backend import Backend
from mkgen.document import Document
from mkgen.evaluate.arrays import DTYPES
from mkgen.evaluate.limits import profile_of
from mkgen.evaluate.wording import duration
from mkgen.profile import HardwareProfile
from mkgen.program import Artifact, Buffer, BufferRole, Functional, Launch, Program, Simt
from mkgen.record import EvidenceKind, Record, Status
from mkgen.tune.variants import seconds_of, spilled


class Fitness(Document):
    """What one passing candidate is ranked by."""

    kind: Literal["timed", "model"]
    """timed: seconds, measured on a device; model: a score without unit, never to be shown as a
    time."""
    value: float

    @property
    def rank(self) -> tuple[int, float]:
        """Smaller is better. What was measured comes before what was not."""
        return (0, self.value) if self.kind == "timed" else (1, -self.value)

    def __str__(self) -> str:
        if self.kind == "timed":
            return duration(self.value)
        return f"model {self.value:.3f}"


def fitness_of(record: Record, program: Program, backend: Backend) -> Fitness | None:
    """The fitness of `record`, whose program at full size is `program`; None unless it passed here.

    Only a record that was seen here counts.
    """
    if record.status is not Status.PASS or record.standing != "seen":
        return None
    if record.has(EvidenceKind.TIMED):
        seconds = seconds_of(record)
        if math.isfinite(seconds):
            return Fitness(kind="timed", value=seconds)
    artifact = record.artifacts[0] if record.artifacts else None
    return Fitness(kind="model", value=score(program, artifact, backend))


def score(program: Program, artifact: Artifact | None, backend: Backend) -> float:
    """The static score, larger is better: see the module."""
    profile = profile_of(backend, program.target)
    lanes = backend.archs[program.target.arch].sub_group
    share = _traffic(program) * min((_fill(step, profile) for step in program.launches), default=1)
    if artifact is None:
        return share
    share *= min(
        (_occupancy(launch, artifact, profile, lanes) for launch in program.launches), default=1
    )
    return share / (1 + spilled(artifact))


def _traffic(program: Program) -> float:
    given = [b for b in program.buffers if b.role is not BufferRole.TEMPORARY]
    moved = sum(_bytes(program.buffer(name)) for s in program.launches for name in set(s.args))
    return min(1.0, sum(map(_bytes, given)) / moved) if moved else 1.0


def _bytes(buffer: Buffer) -> int:
    return math.prod(buffer.shape) * DTYPES[buffer.dtype].itemsize


def _fill(launch: Launch, profile: HardwareProfile) -> float:
    units = profile.number("compute_units") if "compute_units" in profile.facts else 1
    if isinstance(launch.configuration, Functional):
        return 1.0  # its grid stands in the text
    return min(1.0, math.prod(launch.configuration.grid) / units)


def _occupancy(launch: Launch, artifact: Artifact, profile: HardwareProfile, lanes: int) -> float:
    resources = artifact.resources.get(launch.entry)
    configuration = launch.configuration
    if resources is None or isinstance(configuration, Functional):
        return 1.0
    threads = (
        math.prod(configuration.block)
        if isinstance(configuration, Simt)
        else configuration.warps * lanes
    )
    facts = profile.facts
    if "threads_per_unit" not in facts:
        return 1.0
    room = profile.number("threads_per_unit")
    resident = room
    registers = (resources.registers or 0) + (resources.accumulator_registers or 0)
    per_thread = "registers_per_thread" in facts and facts["registers_per_thread"].unit
    # Intel's registers belong to a hardware thread of many lanes
    if registers and per_thread and not per_thread.startswith("GRF"):
        resident = min(resident, profile.number("registers_per_unit") / registers)
    if resources.shared_bytes:
        blocks = max(1, profile.integer("shared_bytes_per_unit") // resources.shared_bytes)
        resident = min(resident, blocks * threads)
    return resident / room

"""A run against an earlier one: what is new, fixed, broken, spilling, slower, missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mkgen.program import PrecisionClass
from mkgen.record import EvidenceKind, Record, Status

#: What a difference of medians must come to beside intervals that do not meet.
_SLOWER = 1.05


class Kind(StrEnum):
    """What became of one record."""

    BROKEN = "broken"
    MISSING = "missing"
    """The record, or a kind of its evidence, is not there any more."""
    SPILLING = "spilling"
    SLOWER = "slower"
    REGISTERS = "registers"
    """More registers per thread, without more spills: worth knowing, not a fault."""
    COMPILER = "compiler"
    """Another compiler made the artifact; also one that calls itself the same."""
    FASTER = "faster"
    FIXED = "fixed"
    NEW = "new"


#: Kinds that make `mkgen eval --baseline` end with 1.
REGRESSIONS = (Kind.BROKEN, Kind.MISSING, Kind.SPILLING, Kind.SLOWER)


@dataclass(frozen=True)
class Change:
    """One difference of one record."""

    name: str
    """`conv2d -> hip:gfx942`."""
    kind: Kind
    told: str
    """What it was and what it is."""

    @property
    def regression(self) -> bool:
        """Whether it is for the worse."""
        return self.kind in REGRESSIONS


def compare_runs(before: Sequence[Record], now: Sequence[Record]) -> list[Change]:
    """Every difference, regressions first, then by name. Of several records the last counts."""
    old, new = _last(before), _last(now)
    changes: list[Change] = []
    for name, record in new.items():
        if name in old:
            changes += _compare(name, old[name], record)
        else:
            changes.append(Change(name, Kind.NEW, f"{record.status.value}; not in the baseline"))
    for name, record in old.items():
        if name not in new:
            told = f"{record.status.value} in the baseline, not in this run"
            changes.append(Change(name, Kind.MISSING, told))
    order = list(Kind)
    return sorted(changes, key=lambda c: (not c.regression, order.index(c.kind), c.name))


def _last(records: Iterable[Record]) -> dict[str, Record]:
    """By name; a run that was resumed may hold a pair of task and target twice."""
    return {_name(record): record for record in records}


def _name(record: Record) -> str:
    relaxed = record.precision is not PrecisionClass.STRICT
    return f"{record.task} -> {record.target}" + (f" {record.precision.value}" if relaxed else "")


def _compare(name: str, old: Record, new: Record) -> list[Change]:
    if old.status is not Status.PASS and new.status is Status.PASS:
        return [Change(name, Kind.FIXED, f"{old.status.value} before")]
    if new.status is not Status.PASS:
        if old.status is not Status.PASS:
            return []
        return [Change(name, Kind.BROKEN, f"{new.status.value}: {new.reason[:300]}")]
    found: list[Change] = []
    lost = [kind for kind in EvidenceKind if old.has(kind) and not new.has(kind)]
    if lost:
        told = f"no {', '.join(lost)} evidence, which the baseline has"
        found.append(Change(name, Kind.MISSING, told))
    found += _compilers(name, old, new)
    found += _resources(name, old, new)
    found += _times(name, old, new)
    return found


def _compilers(name: str, old: Record, new: Record) -> list[Change]:
    for before, now in zip(old.artifacts, new.artifacts, strict=False):
        if before.compiler_sha == now.compiler_sha:
            continue
        told = f"{before.compiler} before, {now.compiler} now"
        if before.compiler == now.compiler:
            told = (
                f"{now.compiler}, but another binary: {before.compiler_sha[:12]} before, "
                f"{now.compiler_sha[:12]} now"
            )
        return [Change(name, Kind.COMPILER, told)]
    return []


def _resources(name: str, old: Record, new: Record) -> list[Change]:
    before, now = _worst(old), _worst(new)
    also = "" if old.text_sha == new.text_sha else " (the text differs as well)"
    if now["spilled"] > before["spilled"]:
        told = f"{before['spilled']} bytes per thread before, {now['spilled']} now{also}"
        return [Change(name, Kind.SPILLING, told)]
    if now["registers"] > before["registers"] > 0:
        told = f"{before['registers']} per thread before, {now['registers']} now{also}"
        return [Change(name, Kind.REGISTERS, told)]
    return []


def _worst(record: Record) -> dict[str, int]:
    """The most registers and spilled bytes of any kernel."""
    kernels = [r for artifact in record.artifacts for r in artifact.resources.values()]
    return {
        "registers": max((r.registers or 0 for r in kernels), default=0),
        "spilled": max((r.spill_bytes or 0 for r in kernels), default=0),
    }


def _times(name: str, old: Record, new: Record) -> list[Change]:
    before, now = _timing(old), _timing(new)
    if before is None or now is None:
        return []
    told = f"median {before[0]:.4g} s before, {now[0]:.4g} s now"
    if now[1] > before[2] and now[0] > before[0] * _SLOWER:
        return [Change(name, Kind.SLOWER, told)]
    if now[2] < before[1] and now[0] * _SLOWER < before[0]:
        return [Change(name, Kind.FASTER, told)]
    return []


def _timing(record: Record) -> tuple[float, float, float] | None:
    """Median and the ends of its interval in seconds, as a device measured them."""
    for evidence in record.evidence:
        if evidence.timing is not None:
            one = evidence.timing.candidate
            return one.median, one.low, one.high
    return None

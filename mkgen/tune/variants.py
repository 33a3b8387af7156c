"""A foreign template, a native file with parameters, swept: each legal set is another text."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from mkgen.errors import UserError
from mkgen.evaluate.jobs import compile_program
from mkgen.evaluate.limits import artifact_excess, launch_excess, target_limits
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.protocol import Settings, evaluate
from mkgen.foreign.native_program import SourceCandidate
from mkgen.program import Artifact
from mkgen.record import EvidenceKind, Record, Status

#: Sets that are compiled, and of them those that are run until one passes.
COMPILED = 16
EVALUATED = 3


@dataclass(frozen=True)
class Swept:
    """The best set of a template, and what else was evaluated."""

    candidate: SourceCandidate
    record: Record
    tried: tuple[Record, ...]
    """Every record, the best one's too, in the order in which they were made."""


def sweep(
    candidate: SourceCandidate,
    workers: Workers,
    settings: Settings,
    *,
    compiled: int = COMPILED,
    evaluated: int = EVALUATED,
) -> Swept:
    """Evaluates `candidate` at the sets of its parameters that promise most.

    Up to `compiled` legal sets, in the order of its head, are compiled; those that spill least are
    first, of equals the earlier one. They are evaluated until one passes; where they are timed,
    `evaluated` of them are, and the fastest that passes is the best. Without one that passes it is
    the first. A text without parameters is evaluated as it is.
    """
    if not candidate.native.head.parameters:
        record = evaluate(candidate, workers, settings)
        return Swept(candidate, record, (record,))
    try:
        sets = list(itertools.islice(candidate.variants(), compiled))
    except UserError:  # the protocol says which line of the head is wrong
        sets = [candidate]
    order = _by_spills(sets, workers, settings) if len(sets) > 1 else sets
    timed = EvidenceKind.TIMED in settings.require
    tried: list[tuple[SourceCandidate, Record]] = []
    for one in order[:evaluated]:
        tried.append((one, evaluate(one, workers, settings)))
        if tried[-1][1].status is Status.PASS and not timed:
            break
    passed = [t for t in tried if t[1].status is Status.PASS]
    best, record = min(passed, key=lambda t: seconds_of(t[1])) if passed else tried[0]
    return Swept(best, record, tuple(r for _, r in tried))


def seconds_of(record: Record) -> float:
    """The median device time of a call that was timed; infinite where none was."""
    times = [e.timing.candidate.median for e in record.evidence if e.timing is not None]
    return min(times, default=float("inf"))


def spilled(artifact: Artifact) -> int:
    """Registers, or bytes where the compiler counts those, that all kernels spill."""
    return sum(r.spilled_registers or r.spill_bytes or 0 for r in artifact.resources.values())


def _by_spills(
    sets: list[SourceCandidate], workers: Workers, settings: Settings
) -> list[SourceCandidate]:
    """Those that compile within the limits, least spills first; then the others, as they were."""
    scored: list[tuple[float, int]] = []
    for number, one in enumerate(sets):
        scored.append((_score(one, workers, settings), number))
    return [sets[number] for _, number in sorted(scored)]


def _score(one: SourceCandidate, workers: Workers, settings: Settings) -> float:
    limits = target_limits(one.backend, one.target)
    try:
        program = one.program(one.task.workloads()[0])
        if launch_excess(program, limits):
            return float("inf")
        artifact = compile_program(
            workers, one.backend, program, settings.cache, settings.compile_timeout, trusted=False
        )
    except (UserError, WorkerFailure):
        return float("inf")
    return float("inf") if artifact_excess(program, artifact, limits) else spilled(artifact)

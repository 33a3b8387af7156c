"""One candidate timed, beside its baselines: from fresh processes to the figures of a record."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mkgen.codegen.backend import Backend, Executor
from mkgen.codegen.timer import rolled, rolling
from mkgen.evaluate.arrays import save_arrays
from mkgen.evaluate.jobs import readable
from mkgen.evaluate.oracle import Case
from mkgen.evaluate.pool import Lease, Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.timing import libraries
from mkgen.evaluate.timing.baselines import BASELINES, lease_baseline, opening
from mkgen.evaluate.timing.clock_rate import ClockRate
from mkgen.evaluate.timing.clocks import (
    CPU_JOB_SECONDS,
    CPU_WAKE_SECONDS,
    JOB_SECONDS,
    WAKE_SECONDS,
    Surroundings,
    conflict,
)
from mkgen.evaluate.timing.floor import Floor, floor_of
from mkgen.evaluate.timing.flush import Flush, find_flush
from mkgen.evaluate.timing.interleave import Contestant, Fetched, Plan, again, interleave
from mkgen.evaluate.timing.statistics import ratio, speed
from mkgen.profile import HardwareProfile
from mkgen.program import Artifact, PrecisionClass, Program
from mkgen.record import Speed, Status, Timing
from mkgen.task import Task

Judge = Callable[[Mapping[str, np.ndarray], dict[str, np.ndarray]], None]
"""Judges outputs for inputs, which are the case's own or rolled; raises what ends the candidate."""

#: Launches of a call that no one tells the kernels of: a module's many small operations.
_UNSEEN_LAUNCHES = 50


@dataclass(frozen=True)
class Subject:
    """What is timed."""

    task: Task
    precision: PrecisionClass
    origin: str
    case: Case
    inputs: Mapping[str, np.ndarray]
    """What `program` is given, by buffer name."""
    program: Program
    artifact: Artifact | None
    executor: Executor
    profile: HardwareProfile
    compare: tuple[str, ...] = ()
    """Names of BASELINES."""
    roll: bool = False
    """Whether every call finds other values, so that nothing it remembers is right."""

    @property
    def on_accelerator(self) -> bool:
        """Whether baselines run on PyTorch's accelerator."""
        return self.profile.kind != "cpu"


def measure(
    subject: Subject,
    lease: Lease,
    workers: Workers,
    plan: Plan,
    judge: Judge,
    random_: random.Random,
    *,
    timeout: float,
    compile_timeout: float,
) -> tuple[Timing, str]:
    """The figures, and one line for people.

    `lease` is of a device worker that no other candidate has used. `random_` decides which calls
    are looked at: a secret one where the candidate is not ours. WorkerFailure, with the status
    IMPLAUSIBLE or REFUSED too; what `judge` raises.
    """
    directory = workers.new_directory("timing-")
    cache_bytes = _cache_bytes(subject, lease, timeout)
    flush = _flush(subject, lease, workers, cache_bytes)
    names = rolling(subject.program) if subject.roll else ()
    elements = max((subject.inputs[n].size for n in names), default=0)

    def shift() -> int:
        return random_.randrange(1, elements) if elements > 1 else 0

    try:
        save_arrays(directory / "inputs", subject.inputs)
        with ExitStack() as stack:
            job = {**_job(subject, flush, lease, directory), "rolls": elements > 1}
            candidate = Contestant("candidate", lease, job, timeout)
            candidate.open()
            taken = _take(
                subject,
                candidate,
                _baselines(
                    subject,
                    workers,
                    flush,
                    directory,
                    stack,
                    compile_timeout,
                    lease.backend,
                ),
                plan,
                Fetched(directory, plan.checks, random_),
                random_,
                shift,
            )
            _believe_clocks(subject, candidate, taken, flush, random_, shift)
            candidate.close()
        checked = taken.fetched.each(
            lambda by, arrays: judge(rolled(subject.case.inputs, names, by), arrays)
        )
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    floor = floor_of(
        subject.task,
        subject.case.workload,
        subject.precision,
        subject.profile,
        cache_bytes,
        flushed=flush.verified,
    )
    _believe(subject, taken, floor)
    timing = Timing(
        candidate=taken.candidate,
        host_median=taken.host_median,
        baselines=taken.baselines,
        floor=floor.seconds,
        floor_reason=floor.reason,
        flush_bytes=flush.size,
        flush_verified=flush.verified,
        outputs_checked=checked,
        kernels=taken.kernels,
        clock_mhz=taken.clock_mhz,
    )
    absent = taken.absent
    if not flush.verified:
        absent = [*absent, f"flush not verified: {flush.reason}"]
    return timing, detail(timing, absent)


@dataclass(frozen=True)
class _Taken:
    """What was measured."""

    candidate: Speed
    host_median: float
    baselines: tuple[Speed, ...]
    kernels: tuple[str, ...]
    launches: int
    clock_mhz: tuple[int, int] | None
    fetched: Fetched
    absent: list[str]
    """Baselines that took no part, and why."""


@dataclass
class _Opened:
    """Baselines that could be opened, and why others could not."""

    running: list[Contestant] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    flags: dict[str, dict[str, str]] = field(default_factory=dict)
    """PyTorch's settings in each process before the first call."""

    def drop(self, contestant: Contestant, failure: WorkerFailure) -> None:
        self.absent.append(f"no {contestant.name}: {' '.join(failure.message.split())[:200]}")

    def settled(self, baseline: Contestant) -> bool:
        """Whether its settings are what they were; ends its timing. WorkerFailure."""
        same = baseline.flags() == self.flags[baseline.name]
        if not same:
            self.absent.append(f"no {baseline.name}: its process changed PyTorch's settings")
        baseline.close()
        return same


def _take(
    subject: Subject,
    candidate: Contestant,
    opened: _Opened,
    plan: Plan,
    fetched: Fetched,
    random_: random.Random,
    shift: Callable[[], int],
) -> _Taken:
    with ClockRate(subject.executor.clock_command()) as rate:
        running = interleave(candidate, opened.running, plan, fetched, random_, shift, opened.drop)
    believed = []
    for baseline in running:
        try:
            believed += [baseline] if opened.settled(baseline) else []
        except WorkerFailure as failure:
            opened.drop(baseline, failure)
    kernels = candidate.kernels()
    return _Taken(
        candidate=speed("candidate", candidate.readings.device),
        host_median=float(np.median([b.host for b in candidate.readings.brackets])),
        baselines=tuple(speed(b.name, b.readings.device) for b in believed),
        kernels=tuple(dict.fromkeys(kernels)),
        launches=max(sum(subject.program.rounds), len(kernels) or _UNSEEN_LAUNCHES),
        clock_mhz=rate.megahertz(),
        fetched=fetched,
        absent=opened.absent,
    )


def _believe_clocks(
    subject: Subject,
    candidate: Contestant,
    taken: _Taken,
    flush: Flush,
    random_: random.Random,
    shift: Callable[[], int],
) -> None:
    """IMPLAUSIBLE where clocks contradict each other, and do so again."""
    outputs = sum(e.oracle.size * e.dtype.itemsize for e in subject.case.expected)
    inputs = sum(a.nbytes for a in subject.inputs.values())
    around = Surroundings(
        launches=taken.launches,
        copied_bytes=flush.size + 4 * outputs + 4 * inputs * subject.roll,
        bandwidth=subject.profile.number("memory_bandwidth"),
        wake=WAKE_SECONDS if subject.on_accelerator else CPU_WAKE_SECONDS,
        job=JOB_SECONDS if subject.on_accelerator else CPU_JOB_SECONDS,
    )
    if conflict(candidate.readings, around):
        reason = conflict(again(candidate, random_, shift), around)
        if reason:
            raise WorkerFailure(Status.IMPLAUSIBLE, reason)


def _believe(subject: Subject, taken: _Taken, floor: Floor) -> None:
    """WorkerFailure where the figures cannot be true, or are not the candidate's own."""
    median = taken.candidate.median
    if median < floor.seconds:
        raise WorkerFailure(
            Status.IMPLAUSIBLE,
            f"median {median:.4g} s, but {subject.profile.title} needs at least "
            f"{floor.seconds:.4g} s ({floor.reason})",
        )
    allowed = subject.program.variant.parameters.get("library")
    if subject.origin == "module" and subject.on_accelerator and not allowed:
        refused = libraries.refusal(taken.kernels)
        if refused:
            raise WorkerFailure(Status.REFUSED, refused)


def detail(timing: Timing, notes: list[str]) -> str:
    """`median 1.23e-04 s (95 % 1.22e-04 to 1.24e-04) of 40 calls; eager 2.1x (2.0 to 2.2); …`."""
    one = timing.candidate
    parts = [
        f"median {one.median:.4g} s (95 % {one.low:.4g} to {one.high:.4g}) of {one.samples} calls"
    ]
    parts += [_compared(b, one) for b in timing.baselines]
    if timing.floor:
        parts.append(f"floor {timing.floor:.3g} s is {timing.floor / one.median:.0%} of it")
    parts.append(f"{timing.outputs_checked} timed outputs right")
    return "; ".join([*parts, *notes])


def _compared(baseline: Speed, candidate: Speed) -> str:
    times, low, high = ratio(baseline, candidate)
    return f"{baseline.name} {baseline.median:.4g} s, {times:.3g} x ({low:.3g} to {high:.3g})"


def _job(subject: Subject, flush: Flush, lease: Lease, directory: Path) -> dict[str, Any]:
    artifact = subject.artifact and readable(lease, subject.artifact)[0]
    return {
        "executor": subject.executor.name,
        "program": subject.program.model_dump(mode="json"),
        "artifact": artifact.model_dump(mode="json") if artifact else None,
        "inputs": str(lease.give(directory / "inputs")),
        "flush_bytes": flush.size,
    }


def _cache_bytes(subject: Subject, lease: Lease, timeout: float) -> int:
    """The last-level cache by profile or driver, whichever says more.

    Drivers report the L2, and some devices have a cache behind it.
    """
    told = lease.call(
        "timing",
        timeout,
        ask="cache",
        executor=subject.executor.name,
        program=subject.program.model_dump(mode="json"),
    )
    facts = subject.profile.facts
    known = "last_level_cache_bytes"
    return max(int(told), subject.profile.integer(known) if known in facts else 0)


def _flush(subject: Subject, lease: Lease, workers: Workers, cache_bytes: int) -> Flush:
    profile = subject.profile
    bandwidth = 0.0 if profile.vendor == "generic" else profile.number("memory_bandwidth")
    return workers.remember(
        ("flush", lease.backend.name, subject.executor.name, profile.name, cache_bytes),
        lambda: find_flush(lease, subject.executor.name, subject.program, cache_bytes, bandwidth),
    )


def _baselines(
    subject: Subject,
    workers: Workers,
    flush: Flush,
    directory: Path,
    stack: ExitStack,
    timeout: float,
    backend: Backend,
) -> _Opened:
    case = subject.case
    drawn = directory / "drawn"
    if subject.compare:
        save_arrays(drawn, {name: case.inputs[name] for name in subject.task.inputs})
    opened = _Opened()
    for name in subject.compare:
        mode = BASELINES[name]
        lease = lease_baseline(stack, workers, mode, backend.devices, backend.variables)
        job = opening(
            subject.task,
            case.workload,
            subject.precision,
            str(lease.give(drawn)),
            flush.size,
            on_accelerator=subject.on_accelerator,
        )
        contestant = Contestant(mode, lease, job, timeout)
        try:
            contestant.open()
            opened.flags[mode] = contestant.flags()
        except WorkerFailure as failure:
            opened.drop(contestant, failure)
            continue
        opened.running.append(contestant)
    return opened

"""Measuring candidates on a device: compiled in parallel, timed alone, stored at once."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from mkgen.codegen.backend import Executor
from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.document import canonical_json, content_hash
from mkgen.errors import MissingError, UnsupportedError, UserError
from mkgen.evaluate.arrays import save_arrays
from mkgen.evaluate.claims import is_device, unclaimable
from mkgen.evaluate.execution import Execution
from mkgen.evaluate.inputs import draw, reference_call
from mkgen.evaluate.jobs import (
    Description,
    Runner,
    accepts,
    compile_program,
    compiler_identity,
    describe,
)
from mkgen.evaluate.limits import artifact_excess, launch_excess, target_limits
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.programs import Programs, Stop
from mkgen.evaluate.protocol import Settings
from mkgen.evaluate.timing.clocks import clock_conflict
from mkgen.files import exclusive
from mkgen.profile import HardwareProfile
from mkgen.program import GIVEN, Artifact, Program
from mkgen.record import EvidenceKind, Status
from mkgen.target import Target
from mkgen.task import Workload
from mkgen.tune.journal import Journal, Trial
from mkgen.tune.model import estimate
from mkgen.tune.search import BudgetSpent
from mkgen.tune.winners import device_target, template_hash

#: Ends that say nothing of a candidate: the search cannot go on.
_NOT_ITS_FAULT = (Status.NO_TOOLCHAIN, Status.INTERNAL_ERROR)
_OF_THE_TASK = (Status.BAD_TASK, Status.ILL_CONDITIONED)
_LEAST_SECONDS = 1.0

Report = Callable[[Trial, bool], None]
"""`report(trial, known)`: known ones were measured by an earlier command."""


@dataclass(frozen=True)
class _Built:
    """What a device needs of a candidate: the program at full and at check size, compiled."""

    bench: Program
    artifact: Artifact
    check: Program
    check_artifact: Artifact


class Bench:
    """One task's candidates on the one device of this machine. Not for several threads."""

    def __init__(
        self,
        generator: Generator,
        workers: Workers,
        settings: Settings,
        journal: Journal,
        *,
        deadline: float = float("inf"),
        report: Report = lambda trial, known: None,
    ) -> None:
        """`deadline` is of time.monotonic. MissingError, UserError where nothing can be timed."""
        self.generator, self.workers, self.settings = generator, workers, settings
        self.journal, self.deadline, self.report = journal, deadline, report
        backend = generator.backend
        self.toolchain = workers.remember(
            ("identity", backend.name), lambda: compiler_identity(workers, backend)
        )
        self.target = device_target(generator)
        self.template_sha = template_hash(generator)
        self.check = _check_workload(generator)
        self._limits = target_limits(backend, generator.target)
        self._alone = generator.profile.kind == "cpu"  # compilers would run on what is timed
        self._arrays: Path | None = None
        self._pool = ThreadPoolExecutor(workers.jobs, thread_name_prefix="mkgen-compile")

    def open(self, sample: TemplateCandidate) -> None:
        """Finds the device, by asking for `sample`, and what is known of it already.

        MissingError when no device here runs it, UserError when it is not the target's device.
        """
        program = sample.program(self.generator.workload)
        self.executor, told = _device(self.generator, self.workers, program)
        self.device = told.ran_on.name
        refuse_other_device(self.generator.profile, self.generator.target, self.device)
        self.session = content_hash(
            "session 1",
            self.generator.task.hash,
            self.generator.workload.canonical_json(),
            canonical_json([str(self.target), self.generator.precision.value]),
            self.toolchain,
            told.compiler_sha,
            self.template_sha,
            self.device,
        )
        self._known: dict[tuple[str, str, int], Trial] = {}
        self._right: set[str] = set()
        before = self.journal.trials(self.session)
        for trial in before:
            self._keep(trial)
        self.first = before[0] if before else None
        """What an earlier command of this session began with."""

    def close(self) -> None:
        """Waits for compilations that still run; the workers stay."""
        self._pool.shutdown(cancel_futures=True)

    def measure(
        self, candidates: Mapping[int, TemplateCandidate], samples: int
    ) -> Iterator[tuple[int, float | None]]:
        """See mkgen.tune.search.Measure; BudgetSpent once the deadline has passed."""
        programs = {
            number: candidate.program(self.generator.workload)
            for number, candidate in candidates.items()
        }
        known = {number: self._known.get(_key(p, samples)) for number, p in programs.items()}
        building = {
            number: self._pool.submit(self._build, candidates[number], programs[number])
            for number, trial in known.items()
            if trial is None
        }
        try:
            if self._alone:
                wait(building.values())
            for number, candidate in candidates.items():
                trial = known[number]
                if trial is None:
                    trial = self._measure(
                        candidate, programs[number], building.pop(number), samples
                    )  # fmt: skip
                    self.journal.append(trial)
                    self._keep(trial)
                self.report(trial, known[number] is not None)
                yield number, statistics.median(trial.seconds) if trial.seconds else None
        finally:
            for future in building.values():
                future.cancel()

    def trial(self, candidate: TemplateCandidate) -> Trial:
        """The trial of `candidate` with the most samples. KeyError when it was not measured."""
        program = candidate.program(self.generator.workload)
        found = [t for k, t in self._known.items() if k[:2] == _key(program, 0)[:2]]
        if not found:
            raise KeyError(program.variant.key)
        return max(found, key=lambda t: t.samples)

    def _keep(self, trial: Trial) -> None:
        self._known[(trial.variant, trial.text_sha, trial.samples)] = trial
        if trial.status is Status.PASS:
            self._right.add(trial.text_sha)

    def _left(self, most: float) -> float:
        """Seconds a job may take. BudgetSpent when there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise BudgetSpent
        return max(_LEAST_SECONDS, min(most, left))

    def _build(self, candidate: TemplateCandidate, bench: Program) -> _Built:
        excess = launch_excess(bench, self._limits)
        if excess:
            raise Stop(Status.OVER_LIMIT, excess)
        check = candidate.program(self.check)
        if check.text_sha != bench.text_sha:
            raise UnsupportedError(f"the text for {self.check.name} differs from the one for bench")
        return _Built(bench, self._compile(bench), check, self._compile(check))

    def _compile(self, program: Program) -> Artifact:
        settings = self.settings
        return compile_program(
            self.workers,
            self.generator.backend,
            program,
            settings.cache,
            self._left(settings.compile_timeout),
        )

    def _measure(
        self, candidate: TemplateCandidate, program: Program, building: Future[_Built], samples: int
    ) -> Trial:
        seconds: list[float] = []
        status, reason = Status.PASS, ""
        try:
            self._left(0.0)
            built = building.result()
            excess = artifact_excess(built.bench, built.artifact, self._limits)
            if excess:
                raise Stop(Status.OVER_LIMIT, excess)
            with exclusive(timing_lock()):
                if program.text_sha not in self._right:
                    self._see_right(candidate, built)
                seconds = self._time(built, samples)
        except UnsupportedError as error:
            status, reason = Status.UNSUPPORTED, str(error)
        except Stop as stop:
            status, reason = stop.status, stop.reason
        except WorkerFailure as failure:
            status, reason = failure.status, failure.message
        if status is Status.TIMED_OUT and time.monotonic() >= self.deadline:
            raise BudgetSpent  # the budget cut it short: nothing is known of the candidate
        if status in _NOT_ITS_FAULT:
            raise MissingError(f"nothing can be measured: {reason}")
        if status in _OF_THE_TASK:
            raise UserError(reason)
        return Trial(
            session=self.session,
            task=self.generator.task.name,
            target=self.target,
            device=self.device,
            sizes=self.generator.workload.sizes,
            templates=program.variant.templates,
            parameters=program.variant.parameters,
            variant=program.variant.key,
            text_sha=program.text_sha,
            samples=samples,
            seconds=tuple(seconds),
            status=status,
            reason=" ".join(reason.split())[:1000],
            estimate_seconds=estimate(self.generator, candidate, program).seconds,
            checked=self.check.name if status is Status.PASS else "",
        )

    def _see_right(self, candidate: TemplateCandidate, built: _Built) -> None:
        """Runs the check workload on the device. Stop when the candidate is wrong there."""
        execution = Execution(candidate, self.workers, self.settings, self.executor)
        _, declined = execution.go(Programs(self.check, built.check, ()), built.check_artifact)
        if declined:
            raise MissingError(f"{self.executor.name} does not run {self.check.name}: {declined}")

    def _time(self, built: _Built, samples: int) -> list[float]:
        arrays = self._bench_arrays(built.bench)
        with self.workers.lease(self.generator.backend, "device") as lease:
            runner = Runner(
                lease,
                self.workers.new_directory("timing-"),
                self.executor.name,
                built.bench,
                built.artifact,
                arrays,
            )
            started = time.monotonic()
            try:
                seconds = runner.time(samples, self._left(self.settings.run_timeout))
            finally:
                runner.close()
        incredible = clock_conflict(seconds, time.monotonic() - started)
        if incredible:
            raise Stop(Status.IMPLAUSIBLE, f"timing: {incredible}")
        return seconds

    def _bench_arrays(self, program: Program) -> Path:
        """The inputs at full size, drawn and written once for all candidates."""
        if self._arrays is None:
            task, workload = self.generator.task, self.generator.workload
            values = draw(task, workload, self.settings.judge.seed)
            values |= reference_call(task, workload.sizes).parameters
            given = [b.name for b in program.with_role(*GIVEN) if b.name in values]
            self._arrays = self.workers.new_directory("bench-") / "inputs"
            save_arrays(self._arrays, {name: values[name] for name in given})
        return self._arrays


def timing_lock() -> Path:
    """The file that whoever times on this machine holds: MKGEN_TIMING_LOCK, else one per user."""
    chosen = os.environ.get("MKGEN_TIMING_LOCK")
    return Path(chosen or f"{tempfile.gettempdir()}/mkgen-timing-{os.getuid()}.lock")


def refuse_other_device(profile: HardwareProfile, target: Target, device: str) -> None:
    """UserError when `device`, as its driver calls it, is not the one of `profile`.

    What was measured on one device must not be kept as another's.
    """
    if is_device(profile, device):
        return
    raise UserError(
        f"the device here is {device}, parameters for {target} are for {profile.title}; say which "
        f"device it is: --target {target.backend}:{target.arch}@DEVICE (docs/hardware_profiles.md)"
    )


def _key(program: Program, samples: int) -> tuple[str, str, int]:
    return program.variant.key, program.text_sha, samples


def _check_workload(generator: Generator) -> Workload:
    for workload in generator.task.workloads():
        if workload.role == "check":
            return workload
    raise UserError(f"task {generator.task.name} has no check sizes to see a candidate right at")


def _device(
    generator: Generator, workers: Workers, program: Program
) -> tuple[Executor, Description]:
    """The executor whose device is the target's, and what it says of it. MissingError."""
    backend = generator.backend
    reasons: Sequence[str] = []
    for executor in backend.executors():
        if executor.role != "device" or executor.kind is not EvidenceKind.DEVICE:
            continue
        try:
            with workers.lease(backend, "device") as lease:
                reason = accepts(lease, executor.name, program)
                if reason is None:
                    told = describe(lease, executor.name)
                    reason = unclaimable(executor, backend, generator.target, told.ran_on)
                    if not reason:
                        return executor, told
        except WorkerFailure as failure:
            reason = failure.message
        reasons = [*reasons, f"{executor.name}: {reason}"]
    why = "; ".join(reasons) or f"backend {backend.name} has no executor that measures"
    raise MissingError(f"no device here to tune {generator.target} on: {why}")

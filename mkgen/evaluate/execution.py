"""One executor on one candidate: every workload and schedule it must be right on."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mkgen.codegen.backend import Executor
from mkgen.errors import UserError
from mkgen.evaluate.claims import ran_as, unclaimable
from mkgen.evaluate.compare import worst
from mkgen.evaluate.draws import Draws
from mkgen.evaluate.jobs import Description, Runner, accepts, compile_program, describe
from mkgen.evaluate.limits import profile_of
from mkgen.evaluate.oracle import Case
from mkgen.evaluate.pool import Lease, Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.programs import Programs, Stop, in_order, inputs_of
from mkgen.evaluate.sanitizing import sanitized_sizes
from mkgen.evaluate.structured import NO_INPUT, smallest
from mkgen.evaluate.timing.interleave import Plan
from mkgen.evaluate.timing.measure import Subject, measure
from mkgen.program import Artifact, Program
from mkgen.record import ErrorFigures, Evidence, EvidenceKind, Status, Timing, WorkloadResult
from mkgen.task import Workload

if TYPE_CHECKING:
    from mkgen.evaluate.protocol import Candidate, Settings

#: Failures that say something of this machine, not of the candidate.
_NOT_ITS_FAULT = (Status.NO_TOOLCHAIN, Status.UNSUPPORTED)
#: Runs of a stranger's text that are repeated, each in another order where there are several.
FOREIGN_REPEATS = 3


def is_trusted(candidate: Candidate) -> bool:
    """Whether the text is ours: workers go on after a template's, not after a stranger's."""
    return candidate.origin == "template"


def draws_of(candidate: Candidate, settings: Settings) -> Draws:
    """The inputs of `candidate`: secret until it is loaded, unless the text is ours."""
    secret = not is_trusted(candidate)
    return Draws(settings.judge, candidate.task, candidate.precision, secret=secret)


class _Declined(Exception):  # noqa: N818  the executor cannot; nothing is known of the candidate
    """Why an executor does not run the candidate."""


class Execution:
    """Runs a candidate by one executor and judges what comes out."""

    def __init__(
        self,
        candidate: Candidate,
        workers: Workers,
        settings: Settings,
        executor: Executor,
        draws: Draws | None = None,
    ) -> None:
        """`draws`: the candidate's inputs, where other executors have the same."""
        self.candidate = candidate
        self.workers = workers
        self.settings = settings
        self.executor = executor
        self.trusted = is_trusted(candidate)
        self.draws = draws or draws_of(candidate, settings)
        self.results: list[WorkloadResult] = []
        self.left_out: dict[str, str] = {}
        """Structured inputs that cannot judge the task and thin sizes it is not made for: why."""
        own = settings.own_run_timeout if self.trusted else None
        self.run_timeout = settings.run_timeout if own is None else own
        self.repeats = 1 if self.trusted else FOREIGN_REPEATS
        """Runs that are still to be done a second time."""
        if executor.kind is EvidenceKind.SANITIZED:
            self.repeats = 0  # it looks at what happens in a run, not at its numbers
        self.timing: Timing | None = None
        self.timing_detail = ""
        self.ran_other = ""
        """Why it was not the artifact that ran, at full size."""

    def go(self, programs: Programs, artifact: Artifact) -> tuple[list[Evidence], str]:
        """Evidence, and why there is none where there is not. Stop when the candidate is wrong."""
        emulates = self.executor.kind is EvidenceKind.EMULATED
        sanitizes = self.executor.kind is EvidenceKind.SANITIZED
        whole = [(programs.workload, programs.bench)] if not (emulates or sanitizes) else []
        small = programs.small
        if sanitizes:
            small = sanitized_sizes(small, trusted=self.trusted)
        # compiling for a target takes seconds, and what a thin size shows is in the text
        thin = programs.thin if emulates and not self.executor.needs_artifact else ()
        work = [*whole, *small]
        fresh = not self.trusted
        try:
            with self.workers.lease(self.candidate.backend, self.executor.role) as lease:
                # no line of the candidate runs here: this worker may be anyone's
                description = self._ask(lease, work)
                work += [t for t in thin if self._takes(lease, *t)]
            artifacts = self._artifacts(work, programs.bench, artifact)
            with self.workers.lease(
                self.candidate.backend, self.executor.role, fresh=fresh
            ) as lease:
                for workload, program in work:
                    self._workload(lease, workload, program, artifacts[workload.name])
        except _Declined as declined:
            return [], str(declined)
        uncovered = programs.uncovered() if emulates else ""
        if self.executor.kind is EvidenceKind.DEVICE:
            uncovered = self.ran_other
        if uncovered:
            return [], uncovered
        return self._evidence(programs, artifact, description), ""

    def _ask(self, lease: Lease, work: list[tuple[Workload, Program]]) -> Description:
        try:
            for _, program in work:
                reason = accepts(lease, self.executor.name, program)
                if reason:
                    raise _Declined(reason)
            told = describe(lease, self.executor.name)
        except WorkerFailure as failure:
            # no line of the candidate has run yet: this says nothing of it
            raise _Declined(failure.message) from failure
        backend, target = self.candidate.backend, self.candidate.target
        reason = unclaimable(self.executor, backend, target, told.ran_on)
        if reason:
            raise _Declined(reason)
        return replace(told, ran_on=ran_as(backend.archs[target.arch], told.ran_on))

    def _takes(self, lease: Lease, workload: Workload, program: Program) -> bool:
        """Whether the executor runs a thin size at all; one that does not says nothing else."""
        try:
            reason = accepts(lease, self.executor.name, program)
        except WorkerFailure as failure:
            raise _Declined(failure.message) from failure
        if reason:
            self.left_out[workload.name] = reason
        return not reason

    def _artifacts(
        self, work: list[tuple[Workload, Program]], bench: Program, artifact: Artifact
    ) -> Mapping[str, Artifact | None]:
        if not self.executor.needs_artifact:
            return {workload.name: None for workload, _ in work}
        made: dict[str, Artifact | None] = {}
        for workload, program in work:
            made[workload.name] = artifact if program is bench else self._compile(workload, program)
        return made

    def _compile(self, workload: Workload, program: Program) -> Artifact:
        settings = self.settings
        try:
            return compile_program(
                self.workers,
                self.candidate.backend,
                program,
                settings.cache,
                settings.compile_timeout,
                trusted=self.trusted,
            )
        except WorkerFailure as failure:
            text = f"{workload.name}, compiled for {self.executor.name}: {failure.message}"
            raise Stop(failure.status, text) from failure

    def _workload(
        self, lease: Lease, workload: Workload, program: Program, artifact: Artifact | None
    ) -> None:
        runner = Runner(
            lease,
            self.workers.new_directory("arrays-"),
            self.executor.name,
            program,
            artifact,
        )
        try:
            # before there are inputs: a stranger's seed is drawn when its text is in the child
            if not self._load(runner, workload):
                return
            case = self._case(workload)
            schedules = self.executor.orders(program)
            if workload.role != "check" and not self.settings.heldout_schedules:
                schedules = schedules[:1]
            runner.give(inputs_of(program, case))
            seen = [self._run_twice(runner, case, program, s, len(schedules)) for s in schedules]
            if workload == smallest(self.candidate.task) and self._structures():
                self._structured(runner, case, program, schedules[0], seen[0])
            if workload.role == "bench":
                self.ran_other = runner.ran_other
        finally:
            runner.close()
        timed = self.settings.samples and self.executor.kind is EvidenceKind.DEVICE
        if timed and workload.role == "bench":
            self._time(lease, program, artifact, case)

    def _load(self, runner: Runner, workload: Workload) -> bool:
        """Whether the program is ready; a text need not compile for an axis of no elements."""
        started = time.monotonic()
        try:
            runner.load(self.run_timeout)
        except WorkerFailure as failure:
            if workload.role == "thin" and failure.status is Status.COMPILE_FAILED:
                self.left_out[workload.name] = "the text does not compile for it"
                return False
            raise self._failed(_named(workload), "", failure, started) from failure
        return True

    def _case(self, workload: Workload) -> Case:
        try:
            case = self.draws.case(workload)
        except UserError as error:
            raise Stop(Status.BAD_TASK, str(error)) from error
        if case.ill_conditioned:
            raise Stop(Status.ILL_CONDITIONED, case.ill_conditioned)
        return case

    def _structures(self) -> bool:
        """Whether this executor is asked about structured inputs: a sanitizer looks elsewhere."""
        return self.executor.kind is not EvidenceKind.SANITIZED

    def _structured(
        self,
        runner: Runner,
        plain: Case,
        program: Program,
        schedule: str,
        first: dict[str, np.ndarray],
    ) -> None:
        """Other values at the same addresses, one pattern after another, in one order."""
        for case in self.draws.structured():
            if case.unfit:
                self.left_out[case.structure] = case.unfit
                continue
            runner.give(inputs_of(program, case))
            self._run(runner, case, program, schedule)
        if not self.trusted:  # what the values in between left behind must not show
            runner.give(inputs_of(program, plain))
            self._again(runner, plain, schedule, first)

    def _run_twice(
        self, runner: Runner, case: Case, program: Program, schedule: str, orders: int
    ) -> dict[str, np.ndarray]:
        """Runs, and repeats while repeats are due: in one order after another where there are."""
        outputs = self._run(runner, case, program, schedule)
        if case.workload.role == "check":
            for _ in range(min(self.repeats, 1 if orders > 1 else FOREIGN_REPEATS)):
                self.repeats -= 1
                if not self.trusted:  # the files may not be as they were given
                    runner.give(inputs_of(program, case))
                self._again(runner, case, schedule, outputs)
        return outputs

    def _run(
        self, runner: Runner, case: Case, program: Program, schedule: str
    ) -> dict[str, np.ndarray]:
        started = time.monotonic()
        outputs = self._guarded(runner, case, schedule)
        seconds = time.monotonic() - started
        try:
            ordered = in_order(program, case, outputs)
        except KeyError as error:
            reason = f"the executor gave no array {error}"
            raise self._stop(case, schedule, Status.CRASHED, reason, seconds) from error
        comparison = self.settings.judge.check(case, ordered)
        if not comparison.ok:
            raise self._stop(
                case, schedule, Status.WRONG_OUTPUT, comparison.message, seconds, comparison.figures
            )
        self._add(case, schedule, Status.PASS, "", seconds, comparison.figures)
        return outputs

    def _again(
        self, runner: Runner, case: Case, schedule: str, first: dict[str, np.ndarray]
    ) -> None:
        started = time.monotonic()
        second = self._guarded(runner, case, schedule)
        for name, array in first.items():
            if name not in second or array.tobytes() != second[name].tobytes():
                reason = f"{name} has other bits when the same run is repeated"
                raise self._stop(
                    case, schedule, Status.NONDETERMINISTIC, reason, time.monotonic() - started
                )

    def _guarded(self, runner: Runner, case: Case, schedule: str) -> dict[str, np.ndarray]:
        started = time.monotonic()
        try:
            return runner.run(schedule, self.run_timeout)
        except WorkerFailure as failure:
            raise self._failed(case, schedule, failure, started) from failure

    def _failed(
        self, case: Case, schedule: str, failure: WorkerFailure, started: float
    ) -> Exception:
        if failure.status in _NOT_ITS_FAULT:
            return _Declined(failure.message)
        seconds = time.monotonic() - started
        return self._stop(case, schedule, failure.status, failure.message, seconds)

    def _time(self, lease: Lease, program: Program, artifact: Artifact | None, case: Case) -> None:
        """Times the candidate. Stop where its times cannot be believed."""
        settings, candidate = self.settings, self.candidate
        started = time.monotonic()
        ours = is_trusted(candidate)
        if not ours:
            lease.discard()  # what strange code has set up in that process must not be timed
        subject = Subject(
            task=candidate.task,
            precision=candidate.precision,
            origin=candidate.origin,
            case=case,
            inputs=inputs_of(program, case),
            program=program,
            artifact=artifact,
            executor=self.executor,
            profile=profile_of(candidate.backend, candidate.target),
            compare=settings.compare,
            roll=not ours,
        )

        def judge(inputs: Mapping[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
            seen = self._case_of(case, inputs) if subject.roll else case
            if seen.ill_conditioned:
                return  # of these values nothing is known
            ordered = in_order(program, seen, outputs)
            comparison = settings.judge.check(seen, ordered)
            if not comparison.ok:
                seconds = time.monotonic() - started
                text = f"a timed call: {comparison.message}"
                figures = comparison.figures
                raise self._stop(case, "timed", Status.WRONG_OUTPUT, text, seconds, figures)

        try:
            self.timing, self.timing_detail = measure(
                subject,
                lease,
                self.workers,
                Plan(samples=settings.samples, seconds=settings.timing_seconds),
                judge,
                random.Random(settings.judge.seed) if ours else random.SystemRandom(),
                timeout=settings.run_timeout,
                compile_timeout=settings.compile_timeout,
            )
        except WorkerFailure as failure:
            seconds = time.monotonic() - started
            raise self._stop(case, "timed", failure.status, failure.message, seconds) from failure

    def _case_of(self, case: Case, inputs: Mapping[str, np.ndarray]) -> Case:
        task = self.candidate.task
        drawn = {name: inputs[name] for name in task.inputs}
        return self.settings.judge.case_of(task, case.workload, self.candidate.precision, drawn)

    def _add(
        self,
        case: Case,
        schedule: str,
        status: Status,
        message: str,
        seconds: float,
        error: ErrorFigures | None = None,
    ) -> None:
        self.results.append(
            WorkloadResult(
                workload=case.name,
                role="structured" if case.structure else case.workload.role,
                executor=self.executor.name,
                schedule=schedule,
                status=status,
                error=error,
                message=message,
                seconds=seconds,
            )
        )

    def _stop(
        self,
        case: Case,
        schedule: str,
        status: Status,
        message: str,
        seconds: float,
        error: ErrorFigures | None = None,
    ) -> Stop:
        self._add(case, schedule, status, message, seconds, error)
        order = f" in order {schedule!r}" if schedule else ""
        return Stop(status, f"{case.name} on {self.executor.name}{order}: {message}")

    def _evidence(
        self, programs: Programs, artifact: Artifact, description: Description
    ) -> list[Evidence]:
        real = ("bench", "check", "heldout", "user")
        shown = dict.fromkeys(r.workload for r in self.results if r.role in real)
        figures = worst(result.error for result in self.results)
        orders = [order for order in self.executor.orders(programs.bench) if order]
        widths = {
            w
            for launch in programs.bench.launches
            if (w := getattr(launch.configuration, "sub_group", None)) is not None
        }
        parts = [f"sub-group of {w}" for w in sorted(widths)]
        parts += [f"orders {', '.join(orders)}"] if orders else []
        beside = [r.workload for r in self.results if r.role not in real]
        parts += [f"also {', '.join(beside)}"] if beside else []
        unfit = [f"{name} ({why})" for name, why in self.left_out.items() if why != NO_INPUT]
        parts += [f"without {', '.join(unfit)}"] if unfit else []
        if figures is not None:
            parts.append(f"worst error {figures.share:.2g} of its budget")
        made = Evidence(
            kind=self.executor.kind,
            executor=self.executor.name,
            executed=f"artifact {artifact.sha}"
            if self.executor.needs_artifact and "bench" in shown
            else f"source {programs.bench.text_sha}",
            compiler=description.compiler,
            compiler_sha=description.compiler_sha,
            ran_on=description.ran_on,
            workloads=tuple(shown),
            cannot_see=self.executor.cannot_see,
            detail="; ".join(parts),
        )
        if self.timing is None:
            return [made]
        update = {
            "kind": EvidenceKind.TIMED,
            "workloads": ("bench",),
            "detail": self.timing_detail,
            "timing": self.timing,
        }
        return [made, made.model_copy(update=update)]


def _named(workload: Workload) -> Case:
    """What stands for a case that is not drawn yet."""
    return Case(workload, {}, (), "")

"""The protocol: what a candidate of any backend and origin goes through, and the record it gets.

controls of the task - programs for every workload - limits - compile - limits again - executors
on a CPU - a device if asked for - verdict. A candidate's fault of any kind is a record; nothing
but an interruption and a wrong target leaves `evaluate`.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import Protocol

from pydantic import ValidationError

from mkgen.codegen.backend import Backend, Executor
from mkgen.document import content_hash
from mkgen.errors import MissingError, MkgenError, UserError
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.compare import worst
from mkgen.evaluate.execution import Execution, draws_of, is_trusted
from mkgen.evaluate.jobs import compile_program
from mkgen.evaluate.limits import TargetLimits, artifact_excess, launch_excess, target_limits
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.programs import Programs, Stop
from mkgen.evaluate.steps import steps_done
from mkgen.evaluate.tripwires import candidate_findings, told
from mkgen.program import Artifact, PrecisionClass, Program
from mkgen.record import Evidence, EvidenceKind, Record, Status, WorkloadResult
from mkgen.target import Target
from mkgen.task import Task, Workload

_EXECUTED = (EvidenceKind.EMULATED, EvidenceKind.PROXY, EvidenceKind.DEVICE)
#: Kinds of evidence that only a device gives.
ON_DEVICE = (EvidenceKind.PROXY, EvidenceKind.DEVICE, EvidenceKind.TIMED)
_LOG_CHARACTERS = 8000
#: Axes that are tried one after another: each is a rendering and a run of the reference.
_THIN_TRIES = 3


class Candidate(Protocol):
    """One way to compute a task on a target: a template's instance, or what a model wrote."""

    @property
    def task(self) -> Task:
        """What it computes."""

    @property
    def backend(self) -> Backend:
        """What compiles and runs it."""

    @property
    def target(self) -> Target:
        """For what it is compiled."""

    @property
    def precision(self) -> PrecisionClass:
        """What rounding it may use."""

    @property
    def origin(self) -> str:
        """`template`; anything else gets workers that no other candidate has used after it."""

    def program(self, workload: Workload) -> Program:
        """Its program for `workload`. UnsupportedError when it cannot be."""


@dataclass(frozen=True)
class Settings:
    """How to evaluate."""

    judge: Judge
    cache: CompileCache | None = None
    require: tuple[EvidenceKind, ...] = ()
    """Kinds of evidence without which there is no pass."""
    emulate: bool = True
    """Whether to run on a CPU; not where the same is seen on a device and time is short."""
    device: bool = False
    """Whether to run on a device; done as well when `require` names what only a device gives."""
    samples: int = 0
    """Timed calls on the device before their interval counts; 0: no timing."""
    timing_seconds: float = 20.0
    """Budget of a candidate's timing, beside what opening and checking take."""
    compare: tuple[str, ...] = ()
    """Baselines to time beside it: `eager`, `compile`."""
    sanitize: bool = False
    """Whether executors of kind `sanitized` run, too: slower builds that see races, wild accesses
    and unwritten values; also where `require` names the kind."""
    allow_library: bool = False
    """Whether a foreign text may call a library's operations; else it is refused."""
    heldout_schedules: bool = False
    """Whether held-out sizes run in every schedule, not in the first only."""
    compile_timeout: float = 300.0
    run_timeout: float = 120.0
    own_run_timeout: float | None = None
    """For mkgen's own texts, which are slow rather than hung; None: run_timeout."""


def evaluate(candidate: Candidate, workers: Workers, settings: Settings) -> Record:
    """Judges `candidate`. UserError only when its target is unknown."""
    limits = target_limits(candidate.backend, candidate.target)
    return _Evaluation(candidate, workers, settings, limits).record()


def mkgen_version() -> str:
    """The version of the installed mkgen."""
    try:
        return version("mkgen")
    except PackageNotFoundError:
        return "0+source"


def source_hashes(program: Program) -> dict[str, str]:
    """SHA-256 of each source as it is compiled, by file name; the head comment does not count."""
    return {s.name: content_hash(s.preamble, s.sizes, s.body) for s in program.sources}


class _Evaluation:
    """One candidate on its way, and everything seen of it."""

    def __init__(
        self, candidate: Candidate, workers: Workers, settings: Settings, limits: TargetLimits
    ) -> None:
        self.candidate = candidate
        self.workers = workers
        self.settings = settings
        self.limits = limits
        self.bench: Program | None = None
        self.artifacts: list[Artifact] = []
        self.evidence: list[Evidence] = []
        self.results: list[WorkloadResult] = []
        self.draws = draws_of(candidate, settings)
        self.checks: list[str] = []
        self.withheld: list[str] = []
        """Why a kind of evidence that could have been given is not."""

    def record(self) -> Record:
        started = time.monotonic()
        try:
            self._go()
            status, reason = self._verdict()
        except Stop as stop:
            status, reason = stop.status, stop.reason
        except WorkerFailure as failure:
            status, reason = failure.status, failure.message
        except Exception as error:  # ours or the plug-in's fault: it must not end the others
            places = traceback.extract_tb(error.__traceback__)
            where = " < ".join(f"{p.name}, line {p.lineno}" for p in places[:-4:-1])
            status = Status.INTERNAL_ERROR
            reason = f"{type(error).__name__} in {where}: {error}; please report this"
        finally:
            self.draws.forget()
        seconds = time.monotonic() - started
        try:
            return self._record(status, reason, seconds)
        except ValidationError as error:  # a plug-in's executor told what cannot be
            told = error.errors()[0]["msg"].removeprefix("Value error, ")
            self.evidence = []
            return self._record(Status.INTERNAL_ERROR, f"{told}; please report this", seconds)

    def _go(self) -> None:
        self._controls()
        programs = self._programs()
        self._tripwires(programs.bench)
        excess = launch_excess(programs.bench, self.limits)
        if excess:
            raise Stop(Status.OVER_LIMIT, excess)
        artifact = self._compile(programs.bench)
        excess = artifact_excess(programs.bench, artifact, self.limits)
        if excess:
            raise Stop(Status.OVER_LIMIT, excess)
        for executor in self._executors():
            self._execute(executor, programs, artifact)

    def _executors(self) -> list[Executor]:
        """Those that are asked for: emulators, sanitizers, then devices."""
        settings, required = self.settings, self.settings.require
        on_device = settings.device or any(kind in ON_DEVICE for kind in required)
        sanitize = settings.sanitize or EvidenceKind.SANITIZED in required
        wanted = {"emulate": settings.emulate, "device": on_device}
        executors = [e for e in self.candidate.backend.executors() if self._reads(e)]
        plain = [e for e in executors if e.kind is not EvidenceKind.SANITIZED and wanted[e.role]]
        sanitizers = [
            e
            for e in executors
            if e.kind is EvidenceKind.SANITIZED and sanitize and (e.role != "device" or on_device)
        ]
        order = {"emulate": 0, "device": 2}
        return sorted([*plain, *sanitizers], key=lambda e: order[e.role] + (e in sanitizers) / 2)

    def _controls(self) -> None:
        try:
            reason = self.settings.judge.controls(self.candidate.task, self.candidate.precision)
        except UserError as error:
            raise Stop(Status.BAD_TASK, str(error)) from error
        if reason:
            raise Stop(Status.BAD_TASK, f"task {self.candidate.task.name}, {reason}")
        self.checks.append("controls")

    def _tripwires(self, bench: Program) -> None:
        """Stop when a foreign text says what no kernel of its own needs."""
        if is_trusted(self.candidate):
            return
        found = candidate_findings(self.candidate, bench, allow_library=self.settings.allow_library)
        self.checks.append("tripwires")
        if found:
            raise Stop(Status.REFUSED, told(found))

    def _programs(self) -> Programs:
        workloads = self.candidate.task.workloads()
        self.bench = bench = self._program(workloads[0], Status.UNSUPPORTED)
        small: list[tuple[Workload, Program]] = []
        for workload in workloads[1:]:
            program = self._program(workload, Status.EVIDENCE_MISSING)
            if program.text_sha != bench.text_sha or program.launcher != bench.launcher:
                raise Stop(
                    Status.EVIDENCE_MISSING,
                    f"the text for {workload.name} differs from the one for bench, so that running "
                    "it shows nothing of what is shipped; choose parameters that fit both sizes",
                )
            small.append((workload, program))
        return Programs(workloads[0], bench, tuple(small), self._thin(bench))

    def _thin(self, bench: Program) -> tuple[tuple[Workload, Program], ...]:
        """Sizes with an axis of 1, and of 0, at which the same text can be had and launched."""
        found = (self._thinnest(bench, extent) for extent in (1, 0))
        return tuple(f for f in found if f is not None)

    def _thinnest(self, bench: Program, extent: int) -> tuple[Workload, Program] | None:
        for workload in islice(self.draws.thin(extent), _THIN_TRIES):
            try:
                program = self.candidate.program(workload)
            except (MkgenError, ArithmeticError, ValueError):
                continue  # not legal there, which says nothing of the sizes it is made for
            same = program.text_sha == bench.text_sha and program.launcher == bench.launcher
            if same and not launch_excess(program, self.limits):
                return workload, program
        return None

    def _program(self, workload: Workload, refused: Status) -> Program:
        try:
            return self.candidate.program(workload)
        except MissingError as error:
            raise Stop(Status.NO_TOOLCHAIN, str(error)) from error
        except UserError as error:
            raise Stop(refused, f"no program for {workload.name}: {error}") from error

    def _compile(self, program: Program) -> Artifact:
        started = time.monotonic()
        settings, backend = self.settings, self.candidate.backend
        try:
            artifact = compile_program(
                self.workers,
                backend,
                program,
                settings.cache,
                settings.compile_timeout,
                trusted=is_trusted(self.candidate),
            )
        except WorkerFailure as failure:
            # the compiler's log is what a person, or a model, needs to mend the program
            self.results.append(
                WorkloadResult(
                    workload=program.workload,
                    role="bench",
                    executor="compile",
                    schedule="",
                    status=failure.status,
                    message=(failure.log or failure.message)[-_LOG_CHARACTERS:],
                    seconds=time.monotonic() - started,
                )
            )
            raise
        if artifact.arch != program.target.arch:
            raise Stop(
                Status.WRONG_ARCH,
                f"{backend.name} was asked for {program.target.arch}, and says that the artifact "
                f"is for {artifact.arch}",
            )
        self.artifacts.append(artifact)
        if artifact.format == "python":
            return artifact  # no compiler has seen it
        self.evidence.append(
            Evidence(
                kind=EvidenceKind.COMPILED,
                executor=artifact.compiler,
                executed="",
                compiler=artifact.compiler,
                compiler_sha=artifact.compiler_sha,
                ran_on=None,
                workloads=("bench",),
                cannot_see=(),
                detail=artifact.checked,
            )
        )
        return artifact

    def _execute(self, executor: Executor, programs: Programs, artifact: Artifact) -> None:
        execution = Execution(self.candidate, self.workers, self.settings, executor, self.draws)
        try:
            evidence, why_not = execution.go(programs, artifact)
        finally:
            self.results.extend(execution.results)
        self.evidence.extend(evidence)
        if executor.kind is EvidenceKind.SANITIZED and evidence and "sanitizers" not in self.checks:
            self.checks.append("sanitizers")
        if why_not:
            self.withheld.append(f"{executor.name}: {why_not}")

    def _verdict(self) -> tuple[Status, str]:
        kinds = {e.kind for e in self.evidence}
        missing = [kind.value for kind in self.settings.require if kind not in kinds]
        only = "only a device runs it (--device)" if self._left_out() else ""
        reasons = "; ".join(self.withheld) or only or "the backend has no executor for it"
        if missing:
            return Status.EVIDENCE_MISSING, f"no {', '.join(missing)} evidence: {reasons}"
        if not kinds.intersection(_EXECUTED):
            seen = "compiled, but not" if EvidenceKind.COMPILED in kinds else "not"
            return Status.EVIDENCE_MISSING, f"{seen} seen to be right: {reasons}"
        return Status.PASS, ""

    def _left_out(self) -> bool:
        """Whether an executor on a device that runs it was there and not asked for."""
        asked = {executor.name for executor in self._executors()}
        executors = [e for e in self.candidate.backend.executors() if self._reads(e)]
        runs = [e for e in executors if e.kind is not EvidenceKind.SANITIZED]
        return any(e.role == "device" and e.name not in asked for e in runs)

    def _reads(self, executor: Executor) -> bool:
        return self.bench is None or executor.reads(self.bench)

    def _record(self, status: Status, reason: str, seconds: float) -> Record:
        variant = self.bench.variant if self.bench else None
        return Record(
            task=self.candidate.task.name,
            task_hash=self.candidate.task.hash,
            target=self.candidate.target,
            precision=self.candidate.precision,
            status=status,
            reason=" ".join(reason.split())[:2000],
            evidence=tuple(self.evidence),
            results=tuple(self.results),
            error=worst(result.error for result in self.results),
            parameters=dict(variant.parameters) if variant else {},
            variant=variant,
            text_sha=self.bench.text_sha if self.bench else "",
            sources=source_hashes(self.bench) if self.bench else {},
            profile_sha=self.limits.profile_sha,
            artifacts=tuple(self.artifacts),
            task_document=self.candidate.task.model_dump(mode="json"),
            origin=self.candidate.origin,
            checks=(*self.checks, *steps_done(self.results)),
            seed=self.draws.seed,
            confinement=self.workers.confinement.name,
            seconds=seconds,
            mkgen_version=mkgen_version(),
        )

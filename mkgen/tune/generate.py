"""One task on one target, from templates: choose, evaluate, fall through; always a record."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.codegen.template import Parameters
from mkgen.errors import CompileError, MissingError, MkgenError, UnsupportedError, UserError
from mkgen.evaluate.jobs import compiler_identity
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.protocol import Candidate, Settings, evaluate, mkgen_version
from mkgen.program import Artifact, PrecisionClass, Program
from mkgen.record import ParameterSource, Record, Status
from mkgen.target import Target
from mkgen.task import Task
from mkgen.tune.choose import Choice, choose
from mkgen.tune.model import estimate
from mkgen.tune.winners import Found, Winners

ATTEMPTS = 3

Progress = Callable[[str, int, int], None]

#: Ends that the next choice would share.
_FINAL = (
    Status.BAD_TASK,
    Status.ILL_CONDITIONED,
    Status.NO_TOOLCHAIN,
    Status.EVIDENCE_MISSING,
    Status.INTERNAL_ERROR,
)


@dataclass(frozen=True)
class Generated:
    """What came of it. `candidate`, `program` and `artifact` are None where there is none."""

    record: Record
    """Of the candidate that passed, else of the first that was evaluated."""
    candidate: Candidate | None = None
    program: Program | None = None
    artifact: Artifact | None = None
    legal: int = 0
    """How many choices of templates and parameters were legal."""
    tried: tuple[Record, ...] = ()
    """Every record, in the order of the choices."""


def generate(
    generator: Generator,
    workers: Workers,
    settings: Settings,
    *,
    attempts: int = ATTEMPTS,
    progress: Progress | None = None,
    winners: Winners | None = None,
) -> Generated:
    """The winner of a search, else the best by the model, that also passes; the next if it fails.

    Raises nothing but an interruption: a task that cannot be lowered, a compiler that is not here,
    a plug-in that raises are records too.
    """
    started = time.monotonic()
    report = progress or (lambda what, done, total: None)
    offers = _Offers(generator, workers, settings, winners, report)
    tried: list[tuple[Choice, Record]] = []
    try:
        for number, (choice, source) in enumerate(offers.each(attempts), 1):
            report(f"evaluating choice {number}", number - 1, max(attempts, number))
            record = evaluate(choice.candidate, workers, settings).model_copy(
                update={
                    "estimate_seconds": choice.estimate.seconds,
                    "estimate_reason": choice.estimate.reason,
                    "parameter_source": source,
                }
            )
            tried.append((choice, record))
            if record.status is Status.PASS or record.status in _FINAL:
                break
    except Exception as error:  # of the user's reference, a plug-in or ours: others must go on
        if not tried:  # else the winner was judged, and what it showed is worth more
            status, reason = status_of(error)
            return Generated(refusal(generator, status, reason, time.monotonic() - started))
    passed = [t for t in tried if t[1].status is Status.PASS]
    choice, record = (passed or tried)[0]
    record = record.model_copy(update={"seconds": time.monotonic() - started})
    return Generated(
        record,
        choice.candidate,
        choice.candidate.program(generator.workload),
        record.artifacts[0] if record.artifacts else None,
        offers.legal,
        tuple(r for _, r in tried),
    )


@dataclass
class _Offers:
    """Candidates to evaluate, best first, and where their parameters came from."""

    generator: Generator
    workers: Workers
    settings: Settings
    winners: Winners | None
    report: Progress
    legal: int = 0
    """How many sets the choice was made from."""

    def each(self, attempts: int) -> Iterator[tuple[Choice, ParameterSource]]:
        """The winner, if there is one; then up to `attempts` that the model chooses."""
        self.report("choosing parameters", 0, 1)
        require_precision(self.generator)
        found = self._found()
        if found is not None:
            self.legal = found.winner.legal
            program = found.candidate.program(self.generator.workload)
            guess = estimate(self.generator, found.candidate, program)
            yield Choice(found.candidate, guess), found.source
        choices, self.legal = choose(
            self.generator,
            self.workers,
            self.settings.cache,
            progress=lambda done, total: self.report("compiling choices", done, total),
            timeout=self.settings.compile_timeout,
        )
        for choice in choices[:attempts]:
            if found is None or _variant(choice.candidate) != _variant(found.candidate):
                yield choice, ParameterSource(kind="model")

    def _found(self) -> Found | None:
        if self.winners is None:
            return None
        backend = self.generator.backend
        toolchain = self.workers.remember(
            ("identity", backend.name), lambda: compiler_identity(self.workers, backend)
        )
        return self.winners.find(self.generator, toolchain)


def _variant(candidate: TemplateCandidate) -> tuple[tuple[str, ...], Parameters]:
    request = candidate.request
    return tuple(t.name for t in request.templates), request.parameters


def require_precision(generator: Generator) -> None:
    """UnsupportedError when a relaxed precision is asked for that no fitting template has."""
    precision = generator.precision
    if precision is PrecisionClass.STRICT:
        return
    fitting = [t for kernel in generator.kernels for t in generator.templates(kernel)]
    if not any(precision in t.spec.precision for t in fitting):
        raise UnsupportedError(
            f"no template computes {generator.task.name} in {precision.value} on "
            f"{generator.target}: {', '.join(sorted({t.name for t in fitting}))} are strict only. "
            "Leave --precision out; mkgen targets show lists what there is"
        )


def refusal(generator: Generator, status: Status, reason: str, seconds: float) -> Record:
    """The record of a task that gave no candidate to evaluate."""
    return refusal_of(
        generator.task, generator.target, generator.precision, status, reason, seconds
    )


def refusal_of(
    task: Task,
    target: Target,
    precision: PrecisionClass,
    status: Status,
    reason: str,
    seconds: float = 0.0,
) -> Record:
    """As `refusal`, for when there is not even a generator."""
    return Record(
        task=task.name,
        task_hash=task.hash,
        target=target,
        precision=precision,
        status=status,
        reason=" ".join(reason.split())[:2000],
        evidence=(),
        results=(),
        error=None,
        parameters={},
        variant=None,
        text_sha="",
        artifacts=(),
        task_document=task.model_dump(mode="json"),
        seconds=seconds,
        mkgen_version=mkgen_version(),
    )


def status_of(error: Exception) -> tuple[Status, str]:
    """What a record says of an error that ended the making of a candidate."""
    if isinstance(error, WorkerFailure):
        return error.status, error.message
    if isinstance(error, UnsupportedError):
        return Status.UNSUPPORTED, str(error)
    if isinstance(error, UserError):
        return Status.BAD_TASK, str(error)
    if isinstance(error, MissingError):
        return Status.NO_TOOLCHAIN, str(error)
    if isinstance(error, CompileError):
        return Status.COMPILE_FAILED, str(error)
    if isinstance(error, MkgenError):
        return Status.INTERNAL_ERROR, str(error)
    return Status.INTERNAL_ERROR, f"{type(error).__name__}: {error}; please report this"


class Warming:
    """Starts a backend's workers while the caller imports PyTorch, which takes longer."""

    def __init__(self, workers: Workers, backend: Backend) -> None:
        self._threads = [
            threading.Thread(target=self._compiler, args=(workers, backend), daemon=True),
            threading.Thread(target=self._executor, args=(workers, backend), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Waits until no thread uses the workers any more."""
        for thread in self._threads:
            thread.join()

    @staticmethod
    def _compiler(workers: Workers, backend: Backend) -> None:
        # What goes wrong here goes wrong again in the evaluation, which makes a record of it.
        with contextlib.suppress(Exception):
            workers.remember(
                ("identity", backend.name), lambda: compiler_identity(workers, backend)
            )

    @staticmethod
    def _executor(workers: Workers, backend: Backend) -> None:
        with contextlib.suppress(Exception):
            roles = {executor.role for executor in backend.executors()}
            if "emulate" in roles:
                with workers.lease(backend, "emulate") as lease:
                    lease.call("limit", workers.start_timeout, address_space=None)

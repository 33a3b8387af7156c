"""Runs mutants through the protocol and says what became of each."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mkgen.codegen.candidate import TemplateCandidate, scales
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.jobs import compile_program
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.protocol import Settings, evaluate
from mkgen.program import Artifact
from mkgen.record import Record, Status

from .mutant import Mutant
from .mutators import KINDS, PYTHON

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
COMPILE_SECONDS = 120.0
RUN_SECONDS = 10.0


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    NO_PROGRAM = "compile-failed"
    """No program at all: neither killed nor counted."""


_KILLS = (
    Status.WRONG_OUTPUT, Status.CRASHED, Status.NONDETERMINISTIC, Status.TIMED_OUT,
    Status.OUT_OF_MEMORY,
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One mutant's end."""

    mutant: Mutant
    fate: Fate
    status: Status
    reason: str
    where: str
    """`check1 forward`: where it was seen; empty for a survivor."""


class _Standing(CompileCache):
    """Answers every compile with the artifact of the unchanged text.

    Emulators of source text never look at it, and a vendor's compiler says nothing of a wrong
    barrier; not asking it makes a mutant several times cheaper.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact

    def get(self, key: str) -> Artifact | None:
        """The one artifact."""
        return self._artifact


class Lab:
    """Unchanged programs seen to pass, and the mutants made from them."""

    def __init__(self, workers: Workers, directory: Path) -> None:
        self._workers = workers
        self._judge = Judge(scales)
        self._cache = CompileCache(directory)
        self._artifacts: dict[tuple[str, str], Artifact] = {}

    def judge(self, mutant: Mutant) -> Result:
        """What becomes of `mutant`. RuntimeError when the protocol could not judge it."""
        artifact = self._artifact(mutant.base)
        emulators = [e for e in mutant.backend.executors() if e.role == "emulate"]
        if any(e.needs_artifact for e in emulators):
            record = evaluate(mutant.first_check_only(), self._workers, self._settings())
            if record.status is Status.EVIDENCE_MISSING:  # right so far, and more is asked
                record = evaluate(mutant, self._workers, self._settings())
        else:
            record = evaluate(mutant, self._workers, self._settings(artifact))
        return self._result(mutant, record)

    def _settings(self, artifact: Artifact | None = None) -> Settings:
        cache = _Standing(artifact) if artifact else self._cache
        return Settings(
            self._judge, cache, compile_timeout=COMPILE_SECONDS, run_timeout=RUN_SECONDS
        )

    def _artifact(self, base: TemplateCandidate) -> Artifact:
        """The unchanged program's. RuntimeError when that one does not pass: nothing follows."""
        program = base.program(base.task.workloads()[0])
        key = (str(base.target), program.text_sha)
        if key not in self._artifacts:
            record = evaluate(base, self._workers, self._settings())
            if record.status is not Status.PASS:
                raise RuntimeError(
                    f"unchanged {base.task.name} on {base.target}: {record.status}: {record.reason}"
                )
            self._artifacts[key] = record.artifacts[0]
        return self._artifacts[key]

    def _result(self, mutant: Mutant, record: Record) -> Result:
        seen = record.results[-1] if record.results else None
        where = f"{seen.workload} {seen.schedule}".strip() if seen else ""
        if record.status is Status.PASS:
            return Result(mutant, Fate.SURVIVED, record.status, "", "")
        if record.status is Status.COMPILE_FAILED:
            return Result(mutant, Fate.NO_PROGRAM, record.status, record.reason, where)
        if record.status not in _KILLS:
            raise RuntimeError(f"{mutant.key} was not judged: {record.status}: {record.reason}")
        if record.status is Status.CRASHED and mutant.backend.language in PYTHON:
            # An interpreter only fails when it runs: a text no compiler takes is no kill.
            refused = self._refused(mutant)
            if refused:
                return Result(mutant, Fate.NO_PROGRAM, Status.COMPILE_FAILED, refused, where)
        return Result(mutant, Fate.KILLED, record.status, record.reason, where)

    def _refused(self, mutant: Mutant) -> str:
        program = mutant.program(mutant.task.workloads()[1])
        try:
            compile_program(
                self._workers, mutant.backend, program, self._cache, COMPILE_SECONDS, trusted=False
            )
        except WorkerFailure as failure:
            return failure.message
        return ""


def run(
    lab: Lab, mutants: Iterable[Mutant], tell: Callable[[Result], None] | None = None
) -> list[Result]:
    """Every mutant's end, in order; `tell` hears of each."""
    results = []
    for mutant in mutants:
        result = lab.judge(mutant)
        results.append(result)
        if tell:
            tell(result)
    return results


@dataclass(frozen=True)
class Equivalent:
    """A mutant that computes the same, and why."""

    task: str
    backend: str
    mutation: str
    reason: str

    @property
    def key(self) -> tuple[str, str, str]:
        """As `Mutant.key`."""
        return self.task, self.backend, self.mutation


def equivalents() -> dict[tuple[str, str, str], Equivalent]:
    """The mutants shown to be equivalent, from `equivalent.toml`, one entry per backend."""
    listed = tomllib.loads(EQUIVALENT.read_text())["equivalent"]
    found = {}
    for entry in listed:
        for backend in entry["backends"]:
            for task in entry["tasks"]:
                made = Equivalent(task, backend, entry["mutation"], entry["reason"])
                found[made.key] = made
    return found


@dataclass(frozen=True)
class Score:
    """Counts over a set of results."""

    made: int
    killed: int
    no_program: int
    equivalent: int
    survivors: tuple[Result, ...]
    """Survivors that nobody has shown to be equivalent."""

    @property
    def rate(self) -> float:
        """Killed of those that are programs; equivalent ones count as not killed."""
        return self.killed / max(1, self.made - self.no_program)

    @property
    def sharp_rate(self) -> float:
        """Killed of those that are programs and compute something else."""
        return self.killed / max(1, self.made - self.no_program - self.equivalent)


def score(results: Sequence[Result]) -> Score:
    """Counts `results`."""
    known = equivalents()
    fates = Counter(r.fate for r in results)
    alive = [r for r in results if r.fate is Fate.SURVIVED]
    unexplained = tuple(r for r in alive if r.mutant.key not in known)
    return Score(
        made=len(results),
        killed=fates[Fate.KILLED],
        no_program=fates[Fate.NO_PROGRAM],
        equivalent=len(alive) - len(unexplained),
        survivors=unexplained,
    )


def table(results: Sequence[Result], backends: Sequence[str]) -> str:
    """Markdown: mutator x backend, each cell killed / programs, then what was left out."""
    head = "| mutator | " + " | ".join(backends) + " | all |"
    lines = [head, "|---" * (len(backends) + 2) + "|"]
    for kind in (*KINDS, "all"):
        mine = [r for r in results if kind in ("all", r.mutant.mutation.kind)]
        cells = [_cell([r for r in mine if r.mutant.backend.name == b]) for b in backends]
        lines.append(f"| {kind} | " + " | ".join(cells) + f" | {_cell(mine)} |")
    return "\n".join(lines)


def _cell(results: Sequence[Result]) -> str:
    if not results:
        return "–"
    got = score(results)
    notes = [f"{got.equivalent} eq"] * bool(got.equivalent)
    notes += [f"{len(got.survivors)} alive"] * bool(got.survivors)
    notes += [f"{got.no_program} cf"] * bool(got.no_program)
    return f"{got.killed}/{got.made - got.no_program}" + (f" ({', '.join(notes)})" if notes else "")

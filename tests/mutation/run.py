"""Runs mutants through the protocol and says what became of each."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Literal

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

EXPLAINED = Path(__file__).with_name("equivalent.toml")
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
    """Answers the first compile, which is bench's, with the artifact of the unchanged text.

    Emulators never look at bench's, and a vendor's compiler says nothing of a wrong barrier; not
    asking it makes a mutant several times cheaper. Small sizes, where compiled, are the mutant's.
    """

    def __init__(self, artifact: Artifact, directory: Path) -> None:
        super().__init__(directory)
        self._artifact: Artifact | None = artifact

    def get(self, key: str) -> Artifact | None:
        """The unchanged artifact, once; then what is stored."""
        first, self._artifact = self._artifact, None
        return first or super().get(key)


class Lab:
    """Unchanged programs seen to pass, and the mutants made from them."""

    def __init__(self, workers: Workers, directory: Path) -> None:
        self._workers = workers
        self._judge = Judge(scales)
        self._directory = directory
        self._cache = CompileCache(directory)
        self._artifacts: dict[tuple[str, str, int], Artifact] = {}

    def judge(self, mutant: Mutant) -> Result:
        """What becomes of `mutant`. RuntimeError when the protocol could not judge it."""
        emulators = [e for e in mutant.backend.executors() if e.role == "emulate"]
        if any(e.needs_artifact for e in emulators):
            # the protocol compiles every size before it runs one, and most die of the first
            record = self._evaluate(mutant.first_check_only())
            if not _right_so_far(record):
                return self._result(mutant, record)
        return self._result(mutant, self._evaluate(mutant))

    def _evaluate(self, mutant: Mutant) -> Record:
        artifact = self._artifact(replace(mutant.base, task=mutant.task))
        return evaluate(mutant, self._workers, self._settings(artifact))

    def _settings(self, artifact: Artifact | None = None) -> Settings:
        cache = _Standing(artifact, self._directory) if artifact else self._cache
        return Settings(
            self._judge, cache, compile_timeout=COMPILE_SECONDS, run_timeout=RUN_SECONDS
        )

    def _artifact(self, base: TemplateCandidate) -> Artifact:
        """The unchanged program's. RuntimeError when that one does not pass: nothing follows."""
        workloads = base.task.workloads()
        key = (str(base.target), base.program(workloads[0]).text_sha, len(workloads))
        if key not in self._artifacts:
            record = evaluate(base, self._workers, self._settings())
            if record.status is not Status.PASS and not _right_so_far(record):
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


def _right_so_far(record: Record) -> bool:
    """Whether nothing is missing but the sizes that `first_check_only` leaves out."""
    return record.status is Status.EVIDENCE_MISSING and "no held-out sizes" in record.reason


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
class Explained:
    """Why a mutant survives."""

    verdict: Literal["equivalent", "blind"]
    """It computes the same; or it is wrong, and the backend's executor cannot see it."""
    reason: str


def explained() -> dict[tuple[str, str, str], Explained]:
    """The survivors that `equivalent.toml` explains, by `Mutant.key`."""
    found = {}
    for entry in tomllib.loads(EXPLAINED.read_text())["survivor"]:
        for backend in entry["backends"]:
            for task in entry["tasks"]:
                made = Explained(entry["verdict"], entry["reason"])
                found[task, backend, entry["mutation"]] = made
    return found


@dataclass(frozen=True)
class Score:
    """Counts over a set of results."""

    made: int
    killed: int
    no_program: int
    equivalent: int
    blind: int
    survivors: tuple[Result, ...]
    """Survivors that nobody has explained."""

    @property
    def rate(self) -> float:
        """Killed of those that are programs; equivalent ones count as not killed."""
        return self.killed / max(1, self.made - self.no_program)

    @property
    def sharp_rate(self) -> float:
        """Killed of those that are programs and not equivalent."""
        return self.killed / max(1, self.made - self.no_program - self.equivalent)


def score(results: Sequence[Result]) -> Score:
    """Counts `results`."""
    known = explained()
    fates = Counter(r.fate for r in results)
    alive = [r for r in results if r.fate is Fate.SURVIVED]
    verdicts = Counter(known[r.mutant.key].verdict for r in alive if r.mutant.key in known)
    return Score(
        made=len(results),
        killed=fates[Fate.KILLED],
        no_program=fates[Fate.NO_PROGRAM],
        equivalent=verdicts["equivalent"],
        blind=verdicts["blind"],
        survivors=tuple(r for r in alive if r.mutant.key not in known),
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
    notes += [f"{got.blind} blind"] * bool(got.blind)
    notes += [f"{len(got.survivors)} alive"] * bool(got.survivors)
    notes += [f"{got.no_program} cf"] * bool(got.no_program)
    return f"{got.killed}/{got.made - got.no_program}" + (f" ({', '.join(notes)})" if notes else "")

"""Runs mutants through the protocol and says what became of each."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
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
UNCHANGED_SECONDS = 300.0


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    NO_PROGRAM = "compile-failed"
    """No program at all: neither killed nor counted."""
    UNJUDGED = "unjudged"
    """The unchanged program does not pass, or nobody could tell: not counted, to be looked at."""


class NotJudgedError(Exception):
    """The protocol cannot say whether a mutant is right."""


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
        self._baselines: dict[tuple[str, str, int], Record] = {}
        self._failed: dict[tuple[str, str, int], str] = {}

    def judge(self, mutant: Mutant) -> Result:
        """What becomes of `mutant`."""
        try:
            return self._judged(mutant)
        except NotJudgedError as error:
            return Result(mutant, Fate.UNJUDGED, Status.INTERNAL_ERROR, str(error), "")

    def _judged(self, mutant: Mutant) -> Result:
        emulators = [e for e in mutant.backend.executors() if e.role == "emulate"]
        if any(e.needs_artifact for e in emulators):
            # the protocol compiles every size before it runs one, and most die of the first
            record = self._evaluate(mutant.first_check_only())
            if not _right_so_far(record):
                return self._result(mutant, record)
        return self._result(mutant, self._evaluate(mutant))

    def _evaluate(self, mutant: Mutant) -> Record:
        baseline = self._baseline(replace(mutant.base, task=mutant.task))
        # slow is not wrong: only what takes many times as long as the unchanged program hangs
        slowest = max(result.seconds for result in baseline.results)
        settings = Settings(
            self._judge,
            _Standing(baseline.artifacts[0], self._directory),
            compile_timeout=COMPILE_SECONDS,
            run_timeout=10 + 10 * slowest,
        )
        return evaluate(mutant, self._workers, settings)

    def _baseline(self, base: TemplateCandidate) -> Record:
        """The unchanged program's. NotJudgedError when that one does not pass."""
        workloads = base.task.workloads()
        key = (str(base.target), base.program(workloads[0]).text_sha, len(workloads))
        if key in self._failed:
            raise NotJudgedError(self._failed[key])
        if key not in self._baselines:
            settings = Settings(
                self._judge,
                self._cache,
                compile_timeout=COMPILE_SECONDS,
                run_timeout=UNCHANGED_SECONDS,
            )
            record = evaluate(base, self._workers, settings)
            if record.status is not Status.PASS and not _right_so_far(record):
                self._failed[key] = (
                    f"unchanged {base.task.name} on {base.target}: {record.status}: {record.reason}"
                )
                raise NotJudgedError(self._failed[key])
            self._baselines[key] = record
        return self._baselines[key]

    def _result(self, mutant: Mutant, record: Record) -> Result:
        seen = record.results[-1] if record.results else None
        where = f"{seen.workload} {seen.schedule}".strip() if seen else ""
        if record.status is Status.PASS:
            return Result(mutant, Fate.SURVIVED, record.status, "", "")
        if record.status is Status.COMPILE_FAILED:
            return Result(mutant, Fate.NO_PROGRAM, record.status, record.reason, where)
        if record.status not in _KILLS:
            raise NotJudgedError(f"{mutant.key} was not judged: {record.status}: {record.reason}")
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


Key = tuple[str, str, str]


@dataclass(frozen=True)
class Line:
    """A result as it is written down: what a table needs, without the mutant itself."""

    key: Key
    """Task, backend, description."""
    fate: Fate
    status: str
    where: str
    reason: str
    seconds: float

    @classmethod
    def of(cls, result: Result, seconds: float = 0.0) -> Line:
        """The line of `result`."""
        return cls(
            result.mutant.key, result.fate, result.status.value, result.where,
            result.reason[:300], round(seconds, 1),
        )  # fmt: skip

    @property
    def kind(self) -> str:
        """Of the mutation."""
        return self.key[2].split(":", 1)[0]

    def document(self) -> dict[str, str | float]:
        """For JSON."""
        task, backend, mutation = self.key
        return {
            "backend": backend, "task": task, "mutation": mutation, "fate": self.fate.value,
            "status": self.status, "where": self.where, "reason": self.reason,
            "seconds": self.seconds,
        }  # fmt: skip


def read_lines(path: Path | None) -> list[Line]:
    """What `path` holds of an earlier run; nothing when it is not there."""
    if path is None or not path.exists():
        return []
    found = []
    for text in path.read_text().splitlines():
        d = json.loads(text)
        key = (d["task"], d["backend"], d["mutation"])
        found.append(Line(key, Fate(d["fate"]), d["status"], d["where"], d["reason"], d["seconds"]))
    return found


def run(lab: Lab, mutants: Iterable[Mutant]) -> list[Line]:
    """Every mutant's end, in order."""
    return [Line.of(lab.judge(mutant)) for mutant in mutants]


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
    unjudged: int
    equivalent: int
    blind: int
    survivors: tuple[Line, ...]
    """Survivors that nobody has explained."""

    @property
    def programs(self) -> int:
        """Those that compile and were judged."""
        return self.made - self.no_program - self.unjudged

    @property
    def rate(self) -> float:
        """Killed of those that are programs; equivalent ones count as not killed."""
        return self.killed / max(1, self.programs)

    @property
    def sharp_rate(self) -> float:
        """Killed of those that are programs and not equivalent."""
        return self.killed / max(1, self.programs - self.equivalent)


def score(lines: Sequence[Line]) -> Score:
    """Counts `lines`."""
    known = explained()
    fates = Counter(line.fate for line in lines)
    alive = [line for line in lines if line.fate is Fate.SURVIVED]
    verdicts = Counter(known[line.key].verdict for line in alive if line.key in known)
    return Score(
        made=len(lines),
        killed=fates[Fate.KILLED],
        no_program=fates[Fate.NO_PROGRAM],
        unjudged=fates[Fate.UNJUDGED],
        equivalent=verdicts["equivalent"],
        blind=verdicts["blind"],
        survivors=tuple(line for line in alive if line.key not in known),
    )


def summary(lines: Sequence[Line]) -> str:
    """One sentence of counts."""
    got = score(lines)
    tasks = {line.key[0] for line in lines if line.fate in (Fate.KILLED, Fate.SURVIVED)}
    return (
        f"{got.made} made, {got.no_program} compile-failed, {got.unjudged} unjudged, "
        f"{got.programs} programs over {len(tasks)} tasks: {got.killed} killed, "
        f"{got.equivalent} equivalent, {got.blind} blind, {len(got.survivors)} unexplained; "
        f"killed {got.rate:.1%} of all programs, {got.sharp_rate:.1%} of those not equivalent"
    )


def table(lines: Sequence[Line], backends: Sequence[str]) -> str:
    """Markdown: mutator x backend, each cell killed / programs, then what was left out."""
    head = "| mutator | " + " | ".join(backends) + " | all |"
    rows = [head, "|---" * (len(backends) + 2) + "|"]
    for kind in (*KINDS, "all"):
        mine = [line for line in lines if kind in ("all", line.kind)]
        cells = [_cell([line for line in mine if line.key[1] == b]) for b in backends]
        rows.append(f"| {kind} | " + " | ".join(cells) + f" | {_cell(mine)} |")
    return "\n".join(rows)


def _cell(lines: Sequence[Line]) -> str:
    if not lines:
        return "–"
    got = score(lines)
    notes = [f"{got.equivalent} eq"] * bool(got.equivalent)
    notes += [f"{got.blind} blind"] * bool(got.blind)
    notes += [f"{len(got.survivors)} alive"] * bool(got.survivors)
    notes += [f"{got.no_program} cf"] * bool(got.no_program)
    notes += [f"{got.unjudged} unjudged"] * bool(got.unjudged)
    return f"{got.killed}/{got.programs}" + (f" ({', '.join(notes)})" if notes else "")

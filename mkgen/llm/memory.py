"""What worked and what failed in earlier runs of this user, as a few neutral lines for a prompt.

An observation is kept per record, of a text that a model or a person wrote: its cell, small
parameters, how it ended, what the compiler said in a line. Never its text, sizes, seeds or places.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import lowered
from mkgen.document import Document, canonical_json
from mkgen.errors import MkgenError, UserError
from mkgen.evaluate.seen import state_directory
from mkgen.evaluate.store import Run
from mkgen.files import LineFile, whole_lines
from mkgen.llm.describe import Cell
from mkgen.llm.disclosure import hidden_numbers, without_places
from mkgen.llm.exemplar import features
from mkgen.llm.placing import Judged, cell_of
from mkgen.record import Record, Status
from mkgen.task import Task, find_task, task_files
from mkgen.tune.variants import spilled

#: Lines of a prompt, unless someone asks for more.
LIMIT = 4
#: Observations that are looked at, the last ones.
_LATEST = 4000
#: How alike operations of another category must be for it to count: Jaccard's index.
_ALIKE = 0.5
_MOST_LESSON = 120
_FILE = "memory.jsonl"

_ENDS = {
    Status.WRONG_OUTPUT: "computed wrong values",
    Status.NONDETERMINISTIC: "gave other values when run again",
    Status.CRASHED: "crashed",
    Status.TIMED_OUT: "did not end in time",
    Status.OUT_OF_MEMORY: "took too much memory",
    Status.INPUT_CHANGED: "wrote to an input",
    Status.SANITIZER_FINDING: "had a race, a wild access or an unwritten value",
    Status.REFUSED: "was refused: it was no kernel of its own",
    Status.OVER_LIMIT: "asked for more than the device has",
}  # fmt: skip
_LIMITS = (
    ("shared memory", "asked for more shared memory than a block may have"),
    ("registers", "asked for more registers than there are"),
    ("threads per block", "asked for more threads than a block may have"),
    ("blocks along", "asked for more blocks than a grid may have"),
)


class Observation(Document):
    """What one record taught."""

    schema_version: int = 1
    record_key: str
    task: str
    category: str
    backend: str
    arch: str
    operations: tuple[str, ...]
    """Forms, combines and operations of the task's kernels; empty where they are not known."""
    cell: Cell | None
    parameters: str
    """`TILE=64`, of the text's own."""
    status: Status
    lesson: str
    """What went wrong in words; empty for a pass."""
    spills: bool


class Said(NamedTuple):
    """One thing that observations say."""

    subject: str
    """A cell in words; empty where it is of none."""
    told: str


class Memory:
    """The observations of this user, in a file that is only ever appended to."""

    def __init__(self, directory: Path | None = None) -> None:
        self.path = (directory or state_directory()) / _FILE

    def learn(self, task: Task, backend: Backend, judged: Judged) -> bool:
        """Keeps what was seen of `judged`; False where it is known or teaches nothing. UserError.

        Only what was seen here counts, of texts that no template made.
        """
        record = judged.record
        if not _teaches(record) or record.key in {o.record_key for o in self.observations()}:
            return False
        cell = cell_of(judged, task, backend, record.target)
        return self._keep([_observation(record, task.category, _operations(task), cell)]) > 0

    def learn_run(self, path: Path) -> int:
        """Keeps what the records in `path` (a run's .jsonl) teach; how many were new. UserError.

        Their texts are not there, so that no cell is known of them.
        """
        known = {o.record_key for o in self.observations()}
        run = Run(path)
        try:
            rows = [r for r in run.rows() if r.origin in ("source", "module") and not r.problem]
            records = [run.record(row) for row in rows if row.key not in known]
        finally:
            run.close()
        fresh = {r.key: r for r in records if _teaches(r)}
        return self._keep(_observation(r, *_asked(r), None) for r in fresh.values())

    def notes(self, task: Task, backend: Backend, limit: int = LIMIT) -> tuple[str, ...]:
        """At most `limit` lines, what was seen most often and of tasks most alike first.

        Of the same backend: of tasks of the same category or with like operations, and what its
        compiler said of any.
        """
        own = frozenset(_operations(task))
        counts: Counter[Said] = Counter()
        weights: dict[Said, float] = defaultdict(float)
        tries: Counter[str] = Counter()
        for observation in self.observations():
            if observation.backend != backend.name:
                continue
            alike = _likeness(own, frozenset(observation.operations))
            near = observation.category == task.category or alike >= _ALIKE
            if not near and observation.status is not Status.COMPILE_FAILED:
                continue
            tries.update(_subjects(observation))
            for said in _said(observation):
                counts[said] += 1
                weights[said] += 1 + alike if near else 0.5
        order = sorted(weights, key=lambda said: (-weights[said], said))
        return tuple(_told(said, counts[said], tries[said.subject]) for said in order[:limit])

    def observations(self) -> list[Observation]:
        """The last ones, oldest first; lines of another mkgen are passed over."""
        try:
            lines = whole_lines(self.path.read_bytes())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}; --no-memory does without") from error
        return list(_read(lines[-_LATEST:]))

    def _keep(self, observations: Iterable[Observation]) -> int:
        count = 0
        try:
            file = LineFile(self.path)
            try:
                for observation in observations:
                    line = canonical_json(observation.model_dump(mode="json"))
                    if not file.append(line):
                        raise UserError(f"{self.path}: the disk is full; free some space")
                    count += 1
            finally:
                file.close()
        except OSError as error:
            raise UserError(
                f"{self.path}: {error.strerror}; let MKGEN_STATE name a directory that can be "
                "written, or use --no-memory"
            ) from error
        return count


def _read(lines: Iterable[bytes]) -> Iterator[Observation]:
    for line in lines:
        try:
            yield Observation.model_validate_json(line)
        except ValidationError:
            continue  # a cache of what records say: nothing is lost with a line


def _teaches(record: Record) -> bool:
    known = record.status is Status.PASS or record.status is Status.COMPILE_FAILED
    foreign = record.origin in ("source", "module")
    return record.standing == "seen" and foreign and (known or record.status in _ENDS)


def _observation(
    record: Record, category: str, operations: tuple[str, ...], cell: Cell | None
) -> Observation:
    hidden = hidden_numbers(record)
    own = {
        k: v
        for k, v in sorted(record.parameters.items())
        if isinstance(v, int) and not isinstance(v, bool) and str(v) not in hidden
    }
    return Observation(
        record_key=record.key,
        task=record.task,
        category=category,
        backend=record.target.backend,
        arch=record.target.arch,
        operations=operations,
        cell=cell,
        parameters=" ".join(f"{k}={v}" for k, v in own.items()),
        status=record.status,
        lesson=_lesson(record, hidden),
        spills=any(spilled(artifact) for artifact in record.artifacts),
    )


def _tells(digits: str, hidden: frozenset[str]) -> bool:
    """Whether a number is hidden, or has a long one within."""
    return digits in hidden or any(len(h) > 3 and h in digits for h in hidden)


def _lesson(record: Record, hidden: frozenset[str]) -> str:
    if record.status is Status.COMPILE_FAILED:
        found = re.search(r"\berror: ([^\n;]{4,400})", record.reason)
        told = without_places(found[1]) if found else ""
        told = " ".join("".join(c if " " <= c <= "~" else " " for c in told).split())
        if any(_tells(run, hidden) for run in re.findall(r"\d+", told)):
            return ""
        return (
            told if len(told) <= _MOST_LESSON else f"{told[:_MOST_LESSON].rpartition(' ')[0]} ..."
        )
    if record.status is Status.OVER_LIMIT:
        return next((told for word, told in _LIMITS if word in record.reason), _ENDS[record.status])
    return _ENDS.get(record.status, "")


def _subjects(observation: Observation) -> tuple[str, ...]:
    """What an observation is of: its cell, and its cell with its parameters."""
    if observation.cell is None:
        return ()
    plain = f"{observation.cell.words} on {observation.arch}"
    if not observation.parameters:
        return (plain,)
    return plain, f"{observation.cell.words}, {observation.parameters} on {observation.arch}"


def _said(observation: Observation) -> Iterator[Said]:
    """What an observation says, without counts."""
    if observation.status is Status.COMPILE_FAILED:
        if observation.lesson:
            yield Said("", f"compile-failed: {observation.lesson}")
        return
    ended = observation.lesson or "passed"
    subjects = _subjects(observation)
    if not subjects:
        if observation.lesson:
            yield Said("", f"a kernel on {observation.arch} {ended}")
        return
    yield Said(subjects[0], ended)
    if observation.spills:
        yield Said(subjects[-1], "spilled registers")


def _told(said: Said, count: int, tries: int) -> str:
    """`shared memory, a tile per block, …: passed (2 of 3)`; `(4 times)` of what is no cell's."""
    if said.subject:
        return f"{said.subject}: {said.told} ({count} of {tries})"
    return f"{said.told} ({count} times)" if count > 1 else said.told


def _operations(task: Task) -> tuple[str, ...]:
    try:
        found = features(lowered(task))
    except MkgenError:
        return ()
    wanted = ("form ", "combine ", "operation ")
    return tuple(sorted(name for name in found if name.startswith(wanted)))


def _likeness(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b) if a and b else 0.0


def _asked(record: Record) -> tuple[str, tuple[str, ...]]:
    """Category and operations of a record's task; operations only where the task ships."""
    category = str((record.task_document or {}).get("category", ""))
    if record.task not in task_files():
        return category, ()
    return category, _operations(find_task(record.task))

"""`mkgen eval --source`: kernels that others wrote, through the same protocol as templates.

A file or directory is read, never imported: what runs of it runs in the children of the protocol.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mkgen.cli.again import candidate_for, read_record, task_from
from mkgen.cli.present import Advance, say
from mkgen.cli.request import resolve_target
from mkgen.codegen.backend import Backend
from mkgen.codegen.registry import backend_named
from mkgen.errors import MkgenError, UserError, nearest
from mkgen.evaluate.basis import basis_of
from mkgen.evaluate.module_source import holds_module, module_candidate, read_module
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Candidate, Settings, evaluate
from mkgen.evaluate.store import RunStore
from mkgen.foreign.native import MAX_FILE_BYTES, holds_native, parse_native, read_native
from mkgen.foreign.native_program import SourceCandidate, source_candidate
from mkgen.foreign.package_source import package_candidate
from mkgen.record import Record, Status
from mkgen.target import Target
from mkgen.task import Task, find_task, task_files
from mkgen.tune.generate import refusal_of
from mkgen.tune.variants import sweep

#: What a candidate is that could not even be read, by what it looks like.
ORIGINS = ("source", "module", "package")


@dataclass(frozen=True)
class Submission:
    """One file or directory, for one task on one target."""

    path: Path
    origin: str
    task: Task
    backend: Backend
    target: Target

    def candidate(self, *, allow_library: bool) -> Candidate:
        """What the protocol judges. MkgenError when there is no making one of it."""
        if self.origin == "package":
            record = read_record(self.path)
            return package_candidate(self.path, candidate_for(record, self.task)[1])
        if self.origin == "module":
            module = read_module(self.path)
            return module_candidate(
                self.task, self.backend, self.target, module, self.task.precision,
                allow_library=allow_library,
            )  # fmt: skip
        native = read_native(self.path)
        return source_candidate(
            self.task, self.backend, self.target, native, self.task.precision,
            allow_library=allow_library,
        )  # fmt: skip


def submissions(
    paths: Sequence[str], tasks: Sequence[Task], pairs: Sequence[tuple[Backend, Target]]
) -> list[Submission]:
    """Each path for each of `tasks` and `pairs` that it is for.

    Without tasks a file's own head, or a package's record, says which; without pairs likewise.
    UserError for a path that cannot be read and for one that fits nothing that was asked for.
    """
    made: list[Submission] = []
    for text in paths:
        path = Path(text)
        origin = _origin(path)
        one = _package(path, tasks, pairs) if origin == "package" else None
        fitting = [one] if one else _fitting(path, origin, tasks, pairs)
        made += [Submission(path, origin, *place) for place in fitting]
    return made


Place = tuple[Task, Backend, Target]


def _origin(path: Path) -> str:
    """What `path` looks like. UserError when it is nothing that can be evaluated."""
    if path.is_dir():
        if not (path / "record.json").is_file():
            raise UserError(f"--source {path}: a directory without record.json is no package")
        return "package"
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"--source {path}: a kernel file has at most {MAX_FILE_BYTES} bytes")
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"--source {path}: {error.strerror or error}") from error
    if not holds_native(text) and path.suffix == ".py" and holds_module(text):
        return "module"
    return "source"


def _fitting(
    path: Path, origin: str, tasks: Sequence[Task], pairs: Sequence[tuple[Backend, Target]]
) -> list[Place]:
    named = _named(path) if origin == "source" else ("", "")
    if not tasks:
        if not named[0]:
            raise UserError(f"--source {path}: say what it computes with --task")
        tasks = [_shipped(named[0], f"--source {path}")]
    if not pairs:
        if not named[1]:
            raise UserError(f"--source {path}: say where it runs with --target or --backend")
        backend_named(named[1])
        pairs = [resolve_target(None, named[1])]
    wanted = [t for t in tasks if not named[0] or t.name == named[0]]
    places = [(b, g) for b, g in pairs if not named[1] or b.name == named[1]]
    # where nothing fits, the record says what of the head does not
    return [(t, b, g) for t in wanted or tasks[:1] for b, g in places or pairs[:1]]


def _named(path: Path) -> tuple[str, str]:
    """Task and backend that a native file's head names; empty where it cannot be read."""
    try:
        head = parse_native(path.read_bytes().decode("utf-8", "replace"), path.name).head
    except UserError:
        return "", ""
    return head.task or "", head.backend


def _shipped(name: str, who: str) -> Task:
    """The task called `name` that ships with mkgen: no text names a file to be run. UserError."""
    known = task_files()
    if name not in known:
        raise UserError(
            f"{who}: no task {name[:60]!r} ships with mkgen.{nearest(name[:60], known)} "
            "Name a file of your own with --task"
        )
    return find_task(name)


def _package(path: Path, tasks: Sequence[Task], pairs: Sequence[tuple[Backend, Target]]) -> Place:
    """Task and target of a package's record. The task's text in it is compared, never run."""
    record = read_record(path)
    given = next((t for t in tasks if t.name == record.task), None)
    loaded = given or _shipped(record.task, f"--source {path}")
    document = record.task_document or {}
    if document.get("source") != loaded.source:
        raise UserError(
            f"--source {path}: its record holds another text of the task {record.task} than "
            f"{loaded.path or 'the one here'}; name the task's file with --task (what a package "
            "holds of its task is not run)"
        )
    task = task_from(record, loaded)
    if pairs and record.target not in [target for _, target in pairs]:
        raise UserError(f"--source {path}: it is a package for {record.target}")
    return task, backend_named(record.target.backend), record.target


def evaluate_sources(
    store: RunStore,
    settings: Settings,
    resume: bool,
    todo: Sequence[Submission],
    jobs: int,
    advance: Advance,
) -> list[Record]:
    """A record of each of `todo`, stored as soon as it is made."""
    run = _SourcesRun(store, settings, resume)
    run.go(todo, jobs, advance)
    return run.records


class _SourcesRun:
    """Threads that take submissions, and store a record of each."""

    def __init__(self, store: RunStore, settings: Settings, resume: bool) -> None:
        self.store, self.settings, self.resume = store, settings, resume
        self.records: list[Record] = []
        self._storing = threading.Lock()
        self._stop = False

    def go(self, todo: Sequence[Submission], jobs: int, advance: Advance) -> None:
        """Evaluates `todo`; KeyboardInterrupt leaves what is finished in the store."""
        waiting: queue.SimpleQueue[Submission] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[Submission, Record] | BaseException] = queue.SimpleQueue()
        for submission in todo:
            waiting.put(submission)
        with Workers(jobs) as workers:
            advance("asking the toolchains", 0, 1)
            self._bases = {
                b.name: basis_of(b, workers, self.settings) for b in (s.backend for s in todo)
            }
            threads = [
                threading.Thread(target=self._work, args=(waiting, done, workers), daemon=True)
                for _ in range(min(jobs, len(todo)))
            ]
            try:
                for thread in threads:
                    thread.start()
                for number in range(1, len(todo) + 1):
                    advance(f"{number - 1} of {len(todo)} evaluated", number - 1, len(todo))
                    self._take(done.get(), number, len(todo))
            except BaseException:
                # a thread whose worker is killed now sees a failure that is not the candidate's
                with self._storing:
                    self._stop = True
                raise

    def _work(
        self,
        waiting: queue.SimpleQueue[Submission],
        done: queue.SimpleQueue[tuple[Submission, Record] | BaseException],
        workers: Workers,
    ) -> None:
        while not self._stop:
            try:
                submission = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                record, fresh = self._record(submission, workers)
                with self._storing:
                    if self._stop:
                        return
                    if fresh:
                        self.store.append(record)
                done.put((submission, record))
            except BaseException as error:  # the store, or ours: the main thread raises it
                done.put(error)
                return

    def _record(self, submission: Submission, workers: Workers) -> tuple[Record, bool]:
        """The record of `submission`, and whether it was made now."""
        basis = self._bases[submission.backend.name]
        task, target = submission.task, submission.target
        try:
            candidate = submission.candidate(allow_library=self.settings.allow_library)
            old = self._kept(candidate, basis) if self.resume else None
        except MkgenError as error:
            record = refusal_of(task, target, task.precision, Status.UNSUPPORTED, str(error))
            return record.model_copy(update={"origin": submission.origin, "basis": basis}), True
        if old is not None:
            return old, False
        if isinstance(candidate, SourceCandidate):
            record = sweep(candidate, workers, self.settings).record
        else:
            record = evaluate(candidate, workers, self.settings)
        return record.model_copy(update={"basis": basis}), True

    def _kept(self, candidate: Candidate, basis: str) -> Record | None:
        """What the store has of the same text, where it would come out the same again."""
        program = candidate.program(candidate.task.workloads()[0])
        with self._storing:
            found = self.store.finished(
                candidate.task.hash, candidate.target, program.variant.key, candidate.precision
            )
        same = found is not None and (found.basis, found.text_sha) == (basis, program.text_sha)
        return found if same else None

    def _take(
        self, got: tuple[Submission, Record] | BaseException, number: int, count: int
    ) -> None:
        if isinstance(got, BaseException):
            raise got
        submission, record = got
        self.records.append(record)
        kinds = " ".join(dict.fromkeys(e.kind.value for e in record.evidence))
        reason = f": {record.reason[:300]}" if record.reason else ""
        say(
            f"[{number}/{count}] {submission.path} ({record.task} -> {record.target})  "
            f"{record.status.value} {kinds}{reason}"
        )

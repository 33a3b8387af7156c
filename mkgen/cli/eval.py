"""`mkgen eval`: many tasks on many targets; every record is on the disk as soon as it is made."""

from __future__ import annotations

import fnmatch
import os
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from mkgen.cli import llm_options, options
from mkgen.cli.again import records_file
from mkgen.cli.llm_options import Asking
from mkgen.cli.present import (
    RECORD_COLUMNS,
    Advance,
    emit,
    progress,
    record_object,
    record_row,
    say,
    table,
)
from mkgen.cli.request import precision_of, resolve_target, resolve_tasks, settings_of
from mkgen.cli.sources import evaluate_sources, submissions
from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import Generator
from mkgen.codegen.registry import backends, broken_backends
from mkgen.errors import EXIT_FAILED, EXIT_MISSING, MkgenError, UserError, nearest
from mkgen.evaluate.baseline import Change, compare_runs
from mkgen.evaluate.basis import basis_of
from mkgen.evaluate.limits import target_limits
from mkgen.evaluate.outcome import exit_code
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import ON_DEVICE, Settings
from mkgen.evaluate.reports import write_csv, write_junit
from mkgen.evaluate.store import RunStore, read_lines
from mkgen.record import EvidenceKind, Record, Status
from mkgen.target import Target
from mkgen.task import Task, task_files
from mkgen.tune.generate import generate, refusal_of
from mkgen.tune.winners import Winners


@click.command("eval")
@options.together(
    click.option("--task", "names", multiple=True, metavar="NAME|GLOB|FILE.py",
                 help="Tasks: names, globs ('conv*'), files. Repeatable."),
    click.option("--target", "targets", multiple=True, metavar="BACKEND:ARCH[@DEVICE]",
                 help="Targets. Repeatable."),
    click.option("--backend", "names_of_backends", multiple=True, metavar="NAME",
                 help="Backends, each at its usual arch. Repeatable."),
    click.option("--source", "sources", multiple=True, metavar="FILE|DIR",
                 help="Kernels of others instead of templates: a native file, a ModelNew file, a "
                 "package. Repeatable."),
    click.option("--allow-library", is_flag=True,
                 help="With --source: library operations in the text are no reason to refuse it."),
    click.option("--all", "everything", is_flag=True, help="Every task, on every backend."),
    options.shape,
    options.dtype,
    options.precision,
    options.require,
    options.compare,
    options.device,
    options.sanitize,
    options.toolchain,
    options.seed,
    options.jobs(1),
    options.timeout,
    click.option("--resume", is_flag=True, help="Keep what the run has already finished."),
    click.option("--out", metavar="RUN", help="Directory of the run (a new one under runs/)."),
    click.option("--baseline", metavar="RUN",
                 help="An earlier run to compare with; ends with 1 when something is worse."),
    click.option("--junit", metavar="FILE", help="Write JUnit XML, for a CI."),
    click.option("--csv", "csv_file", metavar="FILE", help="Write one row per record."),
    *llm_options.generator(),
    options.json_output,
)  # fmt: skip
@llm_options.asking
def command(**given: Any) -> int:
    """Evaluate tasks on targets; the records go to RUN/records.jsonl, one by one.

    --resume keeps the records made here that the same mkgen, toolchains and settings would give
    again; none where --require asks for proxy, device or timed, which are always seen anew.
    --baseline says what is broken, missing, spilling more or slower, which is worse; and what is
    fixed, faster, new, takes more registers, or was compiled by another compiler.

    \b
    mkgen eval --all
    mkgen eval --task 'conv*' --backend hip --backend cuda -j 2
    mkgen eval --all --out runs/night --resume --junit results.xml
    mkgen eval --all --toolchain hip=/opt/rocm/bin/hipcc --baseline runs/yesterday
    mkgen eval --source softmax.cu --task softmax --target cuda:sm_90a
    mkgen eval --task softmax --target cuda:sm_90a@h200 --require timed --compare eager
    mkgen eval --generator llm --samples 5 --task softmax --backend hip --llm-cmd 'ollama run qwen'
    """
    chosen = Choices(**given)
    chosen.check()
    pairs = chosen.pairs()
    before = read_lines(_records_file(chosen.baseline)) if chosen.baseline else None
    broken = {} if chosen.narrow else broken_backends()
    for name, reason in broken.items():
        say(f"backend {name} is left out, its plug-in is broken: {reason}")
    store = RunStore(_run_directory(chosen.out, chosen.resume))
    try:
        records, tasks = _evaluated(chosen, store, pairs)
    finally:
        store.close()
    _report(records, store, chosen)
    code = exit_code(records, [EvidenceKind(kind) for kind in chosen.required])
    code = code or (EXIT_MISSING if broken else 0)
    if before is not None:
        return _compared(chosen, before, records, tasks, pairs, code)
    if chosen.as_json:
        emit([record_object(r) for r in records])
    return code


@dataclass(frozen=True)
class Choices:
    """What the command line says."""

    names: tuple[str, ...]
    targets: tuple[str, ...]
    names_of_backends: tuple[str, ...]
    sources: tuple[str, ...]
    allow_library: bool
    everything: bool
    shapes: tuple[str, ...]
    dtype: str | None
    precision: str | None
    required: tuple[str, ...]
    compared: tuple[str, ...]
    on_device: bool
    sanitize: bool
    seed: int
    jobs: int
    timeout: float | None
    resume: bool
    out: str | None
    baseline: str | None
    junit: str | None
    csv_file: str | None
    as_json: bool
    generator: str
    asking: Asking

    @property
    def narrow(self) -> bool:
        """Whether only some backends are asked for."""
        return bool(self.targets or self.names_of_backends or self.sources)

    def check(self) -> None:
        """UserError for choices that cannot be together, or name nothing to do."""
        if not (self.names or self.everything or self.narrow):
            raise UserError("say what to evaluate: --task, --backend, --target, --source, or --all")
        if self.generator == "llm" and self.sources:
            raise UserError("--source evaluates texts that are there; leave --generator llm out")
        if self.generator != "llm":
            self.asking.refuse_unused("--generator llm")
        _task_names(self.names)  # before a run's directory is made
        for file in (self.junit, self.csv_file):
            _check_writable(file)

    def pairs(self) -> list[tuple[Backend, Target]]:
        """The targets, each with its backend; every backend's usual one without any."""
        pairs = [resolve_target(t, None) for t in self.targets]
        pairs += [resolve_target(None, b) for b in self.names_of_backends]
        return pairs or [resolve_target(None, b) for b in backends() if not self.sources]

    def tasks(self) -> list[Task]:
        """The tasks; none where `--source` alone says."""
        chosen = _task_names(self.names) if self.names or not self.sources else []
        return [
            precision_of(task, self.precision)
            for name in chosen
            for task in resolve_tasks(name, self.shapes, self.dtype)
        ]

    def settings(self) -> Settings:
        """How to evaluate."""
        settings = settings_of(
            seed=self.seed, timeout=self.timeout, required=self.required,
            on_device=self.on_device, compared=self.compared, sanitize=self.sanitize,
        )  # fmt: skip
        return replace(settings, allow_library=self.allow_library)


def _evaluated(
    chosen: Choices, store: RunStore, pairs: Sequence[tuple[Backend, Target]]
) -> tuple[list[Record], list[Task]]:
    """A record of everything that is asked for, stored one by one; and the tasks."""
    tasks, settings = chosen.tasks(), chosen.settings()
    with progress(not chosen.as_json) as advance:
        if chosen.sources:
            todo = submissions(chosen.sources, tasks, pairs)
            return evaluate_sources(
                store, settings, chosen.resume, todo, chosen.jobs, advance
            ), tasks
        everywhere = [(t, b, g) for t in tasks for b, g in pairs]
        if chosen.generator == "llm":
            from mkgen.cli.llm_run import evaluate_model

            return evaluate_model(
                store, settings, chosen.asking, everywhere, chosen.jobs, advance
            ), tasks
        run = _Run(store, settings, chosen.resume, Winners())
        run.go(everywhere, chosen.jobs, advance)
        return run.records, tasks


def _compared(
    chosen: Choices,
    before: Sequence[Record],
    records: Sequence[Record],
    tasks: Sequence[Task],
    pairs: Sequence[tuple[Backend, Target]],
    code: int,
) -> int:
    """Shows what differs from an earlier run; 1 when something is worse."""
    # what was left out on purpose is not missing
    asked = {t.name for t in tasks} if chosen.names else {r.task for r in before}
    named = chosen.targets or chosen.names_of_backends
    places = {g for _, g in pairs} if named else {r.target for r in before}
    wanted = [r for r in before if r.task in asked and r.target in places]
    changes = compare_runs(wanted, records)
    reported = sum(r.standing == "reported" for r in wanted)
    if reported:
        say(f"{reported} of {len(wanted)} records of {chosen.baseline} are reported, not seen here")
    _show_changes(changes, chosen.baseline or "")
    if chosen.as_json:
        documents = [record_object(r) for r in records]
        emit({"records": documents, "changes": [change_object(c) for c in changes]})
    worse = any(change.regression for change in changes)
    return EXIT_FAILED if worse and code in (0, EXIT_MISSING) else code


def _report(records: Sequence[Record], store: RunStore, chosen: Choices) -> None:
    table(RECORD_COLUMNS, [record_row(r) for r in records])
    if chosen.generator == "llm":
        from mkgen.cli.llm_run import show_pass_at_k

        show_pass_at_k(records)
    if chosen.junit:
        write_junit(Path(chosen.junit), records)
    if chosen.csv_file:
        write_csv(Path(chosen.csv_file), records)
    passed = sum(r.status is Status.PASS for r in records)
    say(f"{passed} of {len(records)} passed; records in {store.path}")


def _records_file(run: str) -> Path:
    file = records_file(Path(run))
    if file is None:
        raise UserError(f"--baseline {run}: there are no records; name a run or its records.jsonl")
    return file


def change_object(change: Change) -> dict[str, str | bool]:
    """The JSON object that `--baseline` prints of a change."""
    return {
        "name": change.name,
        "kind": change.kind.value,
        "regression": change.regression,
        "told": change.told,
    }


def _show_changes(changes: Sequence[Change], baseline: str) -> None:
    if not changes:
        say(f"nothing differs from {baseline}")
        return
    rows = [["worse" if c.regression else "", c.kind.value, c.name, c.told] for c in changes]
    table(("", "what", "record", "difference"), rows, f"against {baseline}:")
    worse = sum(c.regression for c in changes)
    say(f"{worse} worse than in {baseline}, {len(changes) - worse} other differences")


def _task_names(patterns: Sequence[str]) -> list[str]:
    """Names and files that `patterns` match, each once; every task without any. UserError."""
    known = task_files()
    if not patterns:
        return list(known)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        if ".py" in pattern or pattern in known:
            chosen[pattern] = None
            continue
        found = fnmatch.filter(known, pattern)
        if not found:
            raise UserError(f"no task matches {pattern!r}.{nearest(pattern, known)}")
        chosen |= dict.fromkeys(found)
    return list(chosen)


def _check_writable(file: str | None) -> None:
    if file is None:
        return
    parent = Path(file).absolute().parent
    if Path(file).is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(f"{file} cannot be written; choose another place")


def _run_directory(out: str | None, resume: bool) -> Path:
    """The directory of this run, made; without --out a new one that runs/latest points to."""
    try:
        if out is not None:
            Path(out).mkdir(parents=True, exist_ok=True)
            _check_directory(Path(out))
            return Path(out)
        latest = Path("runs/latest")
        if resume and latest.is_dir():
            return latest
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        directory = Path("runs") / f"{stamp}-{os.getpid()}"
        directory.mkdir(parents=True)
        link = Path("runs") / f".latest-{os.getpid()}"
        link.symlink_to(directory.name)
        os.replace(link, latest)
        return directory
    except OSError as error:
        raise UserError(
            f"the run cannot be written to {out or 'runs'}: {error.strerror}; use --out"
        ) from error


def _check_directory(directory: Path) -> None:
    if not os.access(directory, os.W_OK | os.X_OK):
        raise UserError(f"the run cannot be written to {directory}: permission denied; use --out")


Pair = tuple[Task, Backend, Target]


@dataclass
class _Run:
    """Threads that take pairs of task and target, and store a record of each."""

    store: RunStore
    settings: Settings
    resume: bool
    winners: Winners
    records: list[Record] = field(default_factory=list)

    def go(self, pairs: Sequence[Pair], jobs: int, advance: Advance) -> None:
        """Evaluates `pairs`; KeyboardInterrupt leaves what is finished in the store."""
        waiting: queue.SimpleQueue[Pair] = queue.SimpleQueue()
        done: queue.SimpleQueue[Record | BaseException] = queue.SimpleQueue()
        count = 0
        self._lowering = threading.Lock()
        self._storing = threading.Lock()
        self._stop = False
        with Workers(jobs, hidden=[self.store.path.parent]) as workers:
            advance("asking the toolchains", 0, 1)
            self._bases = {
                backend.name: basis_of(backend, workers, self.settings) for _, backend, _ in pairs
            }
            for task, backend, target in pairs:
                old = self._kept(task, backend, target)
                if old is not None:
                    self.records.append(old)
                else:
                    waiting.put((task, backend, target))
                    count += 1
            if self.records:
                say(f"{len(self.records)} are finished already, {count} to do")
            # Daemons: one that is inside PyTorch must not keep an interrupted command alive.
            threads = [
                threading.Thread(target=self._work, args=(waiting, done, workers), daemon=True)
                for _ in range(min(jobs, count))
            ]
            try:
                for thread in threads:
                    thread.start()
                for number in range(count):
                    advance(f"{number} of {count} evaluated", number, count)
                    self._take(done.get(), number + 1, count)
            except BaseException:
                # A thread whose worker is killed now sees a failure that is not the candidate's:
                # once we hold the lock, no thread stores anything more.
                with self._storing:
                    self._stop = True
                raise

    def _kept(self, task: Task, backend: Backend, target: Target) -> Record | None:
        """The last record, where it was made here and its end will not change.

        What a device showed is seen again, not read: `--require device` never trusts a file.
        """
        if not self.resume or any(kind in ON_DEVICE for kind in self.settings.require):
            return None
        old = self.store.latest(task.hash, target, task.precision, "template")
        if old is None or old.basis != self._bases[backend.name]:
            return None
        if old.profile_sha not in ("", target_limits(backend, target).profile_sha):
            return None
        return old if all(old.has(kind) for kind in self.settings.require) else None

    def _work(
        self,
        waiting: queue.SimpleQueue[Pair],
        done: queue.SimpleQueue[Record | BaseException],
        workers: Workers,
    ) -> None:
        while not self._stop:
            try:
                task, backend, target = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                record = self._record(task, backend, target, workers).model_copy(
                    update={"basis": self._bases[backend.name]}
                )
                with self._storing:
                    if self._stop:
                        return
                    self.store.append(record)
                done.put(record)
            except BaseException as error:  # the store, or ours: the main thread raises it
                done.put(error)
                return

    def _record(self, task: Task, backend: Backend, target: Target, workers: Workers) -> Record:
        try:
            generator = Generator(task, backend, target, task.precision)
            with self._lowering:  # torch.export is not made for several threads
                _ = generator.graph
        except MkgenError as error:
            status = Status.BAD_TASK if type(error) is UserError else Status.UNSUPPORTED
            return refusal_of(task, target, task.precision, status, str(error))
        except Exception as error:  # one task's fault must not end the others
            told = f"{type(error).__name__} while lowering: {error}; please report this"
            return refusal_of(task, target, task.precision, Status.INTERNAL_ERROR, told)
        return generate(generator, workers, self.settings, winners=self.winners).record

    def _take(self, got: Record | BaseException, number: int, count: int) -> None:
        if isinstance(got, BaseException):
            raise got
        self.records.append(got)
        kinds = " ".join(dict.fromkeys(e.kind.value for e in got.evidence))
        reason = f": {got.reason[:300]}" if got.reason else ""
        say(f"[{number}/{count}] {got.task} -> {got.target}  {got.status.value} {kinds}{reason}")

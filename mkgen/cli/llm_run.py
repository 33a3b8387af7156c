"""`--generator llm`: a language model's kernels, through the same protocol as any other text."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from mkgen.cli.llm_options import Asking
from mkgen.cli.present import Advance, say, table
from mkgen.codegen.backend import Backend
from mkgen.errors import MkgenError, UserError
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings
from mkgen.evaluate.seen import state_directory
from mkgen.evaluate.store import RunStore
from mkgen.files import atomic_write
from mkgen.foreign.native import parse_native
from mkgen.foreign.native_program import source_candidate
from mkgen.llm.folder import Folder
from mkgen.llm.judging import Judge, Judged
from mkgen.llm.memory import Memory
from mkgen.llm.pass_at_k import mean_pass_at_k
from mkgen.llm.prompt import Extras, Form, Strategy
from mkgen.llm.provider import Provider
from mkgen.llm.providers import recorded_provider
from mkgen.llm.question import Question
from mkgen.llm.refine import Limits, Outcome, refine
from mkgen.record import Record, Status
from mkgen.target import Target
from mkgen.task import Task
from mkgen.tune.generate import Generated, refusal_of, status_of

Place = tuple[Task, Backend, Target]


def question_of(asking: Asking, place: Place) -> Question:
    """What is asked of one task on one target."""
    task, backend, target = place
    notes = Memory().notes(task, backend) if asking.memory else ()
    return Question(
        task, backend, target, Strategy(asking.strategy), Form(asking.form), Extras(memory=notes)
    )


def evaluate_model(
    store: RunStore,
    settings: Settings,
    asking: Asking,
    todo: Sequence[Place],
    jobs: int,
    advance: Advance,
) -> list[Record]:
    """A record of every sample for each of `todo`, stored as soon as it is made.

    Exchanges and kernels are kept beside the records. ProviderError, BudgetError when a model gives
    no first answer: what is finished is stored, and the same command goes on from there.
    """
    directory = store.path.parent
    provider = recorded_provider(asking.provider, directory / "exchanges", say)
    run = _ModelRun(store, settings, asking, provider)
    run.go(todo, jobs, advance)
    return run.records


class _ModelRun:
    """Threads that take samples, and store a record of each."""

    def __init__(
        self, store: RunStore, settings: Settings, asking: Asking, provider: Provider
    ) -> None:
        self.store, self.settings, self.asking, self.provider = store, settings, asking, provider
        self.records: list[Record] = []
        self._storing = threading.Lock()
        self._asking = threading.Lock()
        self._outcomes: list[tuple[Place, Outcome]] = []
        self._stop = False

    def go(self, todo: Sequence[Place], jobs: int, advance: Advance) -> None:
        """Evaluates every sample of `todo`; an interruption leaves what is finished."""
        samples = list(itertools.product(todo, range(self.asking.samples)))
        waiting: queue.SimpleQueue[tuple[Place, int]] = queue.SimpleQueue()
        done: queue.SimpleQueue[Record | BaseException] = queue.SimpleQueue()
        for sample in samples:
            waiting.put(sample)
        _require_answers(self.provider, self.asking, todo)
        with Workers(jobs, hidden=[self.store.path.parent]) as workers:
            judge = Judge(workers, self.settings)
            threads = [
                threading.Thread(target=self._work, args=(waiting, done, judge), daemon=True)
                for _ in range(min(jobs, len(samples)))
            ]
            try:
                for thread in threads:
                    thread.start()
                for number in range(1, len(samples) + 1):
                    advance(f"{number - 1} of {len(samples)} samples", number - 1, len(samples))
                    self._take(done.get(), number, len(samples))
                _remember(self.asking, self._outcomes)
            except BaseException:
                with self._storing:  # a thread whose worker is killed now sees no candidate's fault
                    self._stop = True
                raise

    def _work(
        self,
        waiting: queue.SimpleQueue[tuple[Place, int]],
        done: queue.SimpleQueue[Record | BaseException],
        judge: Judge,
    ) -> None:
        while not self._stop:
            try:
                place, sample = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                record = self._record(place, sample, judge)
                with self._storing:
                    if self._stop:
                        return
                    self.store.append(record)
                done.put(record)
            except BaseException as error:  # the store, the provider, or ours: the main thread's
                done.put(error)
                return

    def _record(self, place: Place, sample: int, judge: Judge) -> Record:
        task, _, target = place
        try:
            with self._asking:  # torch.export is not made for several threads
                question = question_of(self.asking, place)
                question.prompt(None)
        except MkgenError as error:
            return refusal_of(task, target, task.precision, *status_of(error))
        limits = Limits(rounds=self.asking.rounds, speed_rounds=0)
        outcome = refine(question, self.provider, judge, sample=sample, limits=limits)
        best = outcome.best or (outcome.rounds[-1] if outcome.rounds else None)
        if best is None:
            raise UserError(outcome.stopped)
        if best.text:
            name = f"{task.name}-{target.backend}-{target.arch}-{sample}-{best.answer.name}"
            atomic_write(self.store.path.parent / "kernels" / name, best.text)
        self._outcomes.append((place, outcome))
        return best.record

    def _take(self, got: Record | BaseException, number: int, count: int) -> None:
        if isinstance(got, BaseException):
            raise got
        self.records.append(got)
        made = got.generation
        which = f"sample {made.sample}, round {made.round}" if made else ""
        reason = f": {got.reason[:300]}" if got.reason else ""
        say(f"[{number}/{count}] {got.task} -> {got.target} {which}  {got.status.value}{reason}")


def _require_answers(provider: Provider, asking: Asking, todo: Sequence[Place]) -> None:
    """Writes all first prompts where a person answers. ProviderError names what is missing."""
    if not isinstance(provider, Folder):
        return
    asked = []
    for place in todo:
        task, _, target = place
        try:
            prompt = question_of(asking, place).prompt(None)
        except MkgenError:
            continue  # the record of this pair will say why
        provider.label(prompt.text, f"{task.name}-{target.backend}-{target.arch}")
        asked += [(prompt.text, sample) for sample in range(asking.samples)]
    provider.require(asked)


def generate_model(
    asking: Asking, place: Place, workers: Workers, settings: Settings, advance: Advance
) -> Generated:
    """The best of what a model writes, for a package; every sample in turn until one passes.

    ProviderError, BudgetError when there is no answer at all.
    """
    task, backend, target = place
    if asking.form == Form.MODULE.value:
        raise UserError(
            "gen writes packages, which ModelNew files cannot become; use mkgen eval "
            "--generator llm --form module"
        )
    directory = state_directory() / "llm" / f"{task.name}-{target.backend}-{target.arch}"
    provider = recorded_provider(asking.provider, directory, say)
    _require_answers(provider, asking, [place])
    question, judge = question_of(asking, place), Judge(workers, settings)
    outcomes: list[tuple[Place, Outcome]] = []
    tried: list[Record] = []
    best: Judged | None = None
    for sample in range(asking.samples):
        advance(f"asking the model, sample {sample}", sample, asking.samples)
        outcome = refine(
            question, provider, judge, sample=sample, limits=Limits(rounds=asking.rounds),
            told=lambda number, judged: _tell(number, judged, advance),
        )  # fmt: skip
        outcomes.append((place, outcome))
        tried += [judged.record for judged in outcome.rounds]
        if not outcome.rounds:
            raise UserError(outcome.stopped)
        best = outcome.best
        if best is not None:
            break
    _remember(asking, outcomes)
    if best is None:
        return Generated(tried[-1], tried=tuple(tried))
    candidate = source_candidate(
        task, backend, target, parse_native(best.text, best.answer.name), task.precision
    )
    own = {k: v for k, v in best.record.parameters.items() if k in candidate.native.head.parameters}
    candidate = replace(candidate, parameters=own)
    artifacts = best.record.artifacts
    return Generated(
        best.record,
        candidate,
        candidate.program(task.workloads()[0]),
        artifacts[0] if artifacts else None,
        tried=tuple(tried),
    )


def _tell(number: int, judged: Judged, advance: Advance) -> None:
    reason = f": {judged.record.reason[:200]}" if judged.record.reason else ""
    say(f"round {number}: {judged.record.status.value}{reason}")
    advance(f"round {number + 1}", number + 1, number + 2)


def _remember(asking: Asking, outcomes: Sequence[tuple[Place, Outcome]]) -> None:
    """What the rounds taught, for the next command.

    Only when this one is done: until then the same command asks the same prompts again, which are
    replayed.
    """
    if asking.memory:
        for (task, backend, _), outcome in outcomes:
            for judged in outcome.rounds:
                Memory().learn(task, backend, judged)


def show_pass_at_k(records: Sequence[Record]) -> None:
    """A table of Pass@k per target: the mean over tasks of the unbiased estimator."""
    counts: dict[Target, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        counts[record.target][record.task].append(record.status is Status.PASS)
    rows = []
    for target, tasks in counts.items():
        fewest = min(map(len, tasks.values()))
        for k in sorted({1, fewest}):
            mean = mean_pass_at_k([(len(t), sum(t)) for t in tasks.values()], k)
            rows.append([str(target), str(len(tasks)), str(k), f"{mean:.3f}"])
    table(("target", "tasks", "k", "Pass@k"), rows)

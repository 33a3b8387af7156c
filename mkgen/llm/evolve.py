"""Evolution: kernels of templates, changed by a model step by step, kept by cell in an archive.

Each step is a function of the seed and of the journal so far: island, parent, variation, prompt.
So an evolution that was killed goes on where it was, and recorded exchanges replay.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mkgen.document import content_hash
from mkgen.errors import UserError
from mkgen.files import exclusive
from mkgen.llm.archive import EVERYWHERE, Archive, Entry
from mkgen.llm.describe import Cell, reachable
from mkgen.llm.fitness import Fitness
from mkgen.llm.journal import Begun, Journal, Proposal
from mkgen.llm.placing import Judged, TextJudge, placed, seed_texts
from mkgen.llm.prompt import (
    Extras,
    Form,
    Previous,
    Prompt,
    make_prompt,
    variation_prompt,
)
from mkgen.llm.provider import BudgetError, Provider, ProviderError, Reply
from mkgen.llm.question import Question
from mkgen.llm.variations import Bandit, eligible, one_sentence
from mkgen.record import Record

JOURNAL = "evolution.jsonl"


class Evaluator(Protocol):
    """Judges a reply: extracts its text, sweeps and evaluates it."""

    def __call__(self, prompt: Prompt, reply: Reply, *, sample: int, parent: str) -> Judged:
        """`parent`: key of the record whose text was shown; empty where none was."""


@dataclass(frozen=True)
class Effort:
    """How much, and from where."""

    evaluations: int
    """In all, with those of earlier commands and of seeds."""
    seconds: float = float("inf")
    """Of this command; no step begins after them."""
    seed: int = 0
    islands: int = 3
    seeds: int = 4
    """Kernels of templates to start from, at most."""
    proposals: int = 16
    """Answers between two questions for a new variation; 0: none is asked for."""


@dataclass(frozen=True)
class Evolved:
    """What became of it."""

    archive: Archive
    bandit: Bandit
    stopped: str
    """Why it ended: `evaluations`, `seconds`, or what the provider said."""


def evolve(
    question: Question,
    provider: Provider,
    evaluate: Evaluator,
    judge: TextJudge,
    directory: Path,
    effort: Effort,
    *,
    notes: tuple[str, ...] = (),
    keep: Callable[[Record], None] = lambda record: None,
    progress: Callable[[Archive], None] = lambda archive: None,
) -> Evolved:
    """Evolves kernels in `directory`, whose journal it goes on with where there is one.

    `evaluate` judges answers, `judge` the seeds; `keep` gets each record before the journal does.
    `notes` of memory go into every prompt. UserError for the form of modules, for a journal of
    something else, and for effort that makes no sense.
    """
    if question.form is Form.MODULE:
        raise UserError("what a ModelNew launches is not known before it runs: evolve native files")
    if effort.islands < 1 or effort.evaluations < 1:
        raise UserError("an evolution takes an island and an evaluation at least")
    with exclusive(directory / f"{JOURNAL}.lock"):
        journal = Journal(directory / JOURNAL, _begun(question, effort, notes))
        try:
            steps = _Steps(question, provider, evaluate, judge, journal, keep)
            stopped = steps.go(effort, progress)
            return Evolved(steps.archive, steps.bandit, stopped)
        finally:
            journal.close()


def _begun(question: Question, effort: Effort, notes: tuple[str, ...]) -> Begun:
    return Begun(
        task_hash=question.task.hash,
        target=question.target,
        precision=question.task.precision,
        strategy=question.strategy.value,
        form=question.form.value,
        seed=effort.seed,
        islands=effort.islands,
        seeds=effort.seeds,
        proposals=effort.proposals,
        notes=notes,
    )


class _Steps:
    """The state of an evolution, and its next step."""

    def __init__(
        self,
        question: Question,
        provider: Provider,
        evaluate: Evaluator,
        judge: TextJudge,
        journal: Journal,
        keep: Callable[[Record], None],
    ) -> None:
        self.question, self.provider = question, provider
        self.evaluate, self.judge = evaluate, judge
        self.journal, self.keep = journal, keep
        self.begun = journal.begun
        cells = reachable(question.task, question.backend, question.target)
        self.archive = Archive(self.begun.islands, self.begun.seed, cells)
        self.bandit = Bandit()
        self.asked: dict[str, int] = {}
        """How often a prompt was asked: its next sample."""
        self.proposed = 0
        for event in journal.events:
            self._take(event)

    def go(self, effort: Effort, progress: Callable[[Archive], None]) -> str:
        """Steps until the effort is spent or the provider ends it; why it ended."""
        started = time.monotonic()
        question = self.question
        seeds = seed_texts(question.task, question.backend, question.target, self.begun.seeds)
        while len(self.archive.entries) < effort.evaluations:
            if time.monotonic() - started >= effort.seconds:
                return "seconds"
            number = len(self.archive.entries)
            try:
                event = self._seed(seeds[number]) if number < len(seeds) else self._step(len(seeds))
            except (BudgetError, ProviderError) as error:
                return str(error)
            self.journal.append(event)
            self._take(event)
            progress(self.archive)
        return "evaluations"

    def _take(self, event: Entry | Proposal) -> None:
        if event.prompt_sha:
            self.asked[event.prompt_sha] = event.sample + 1
        if isinstance(event, Proposal):
            self.proposed += 1
            self.bandit.add(event.text)
            return
        accepted = self.archive.add(event)
        if event.variation:
            self.bandit.learn(event.variation, accepted)

    def _seed(self, text: str) -> Entry:
        judged = self.judge(text)
        return self._entry(judged, island=EVERYWHERE, parent=None)

    def _step(self, seeds: int) -> Entry | Proposal:
        """Asks for a kernel, or now and then for a variation."""
        every = self.begun.proposals
        answers = len(self.archive.entries) - seeds
        if every and answers // every > self.proposed:
            return self._propose()
        number = len(self.archive.entries)
        chance = random.Random(f"step {self.begun.seed} {number}")
        island = number % self.begun.islands
        parent = self.archive.parent(island, chance)
        cell = parent.cell if parent else None
        variation = self.bandit.pick(eligible(self.bandit.variations, cell, self.archive), chance)
        extras = Extras(
            previous=Previous(_closed(parent.text), told_of(parent)) if parent else None,
            memory=self.begun.notes,
            variation=variation.text,
        )
        question = self.question
        prompt = make_prompt(
            question.task, question.backend, question.target, question.strategy, question.form,
            extras,
        )  # fmt: skip
        sample = self.asked.get(prompt.sha, 0)
        reply = self.provider.ask(prompt.text, sample)
        key = parent.record_key if parent else ""
        judged = self.evaluate(prompt, reply, sample=sample, parent=key)
        return self._entry(
            judged, island=island, parent=parent, variation=variation.text,
            prompt_sha=prompt.sha, sample=sample,
        )  # fmt: skip

    def _propose(self) -> Proposal:
        """Asks the model for a variation, given the archive's state in words."""
        tried = [
            f"{v.text} ({self.bandit.credit(v.text):.0%})" for v in self.bandit.variations
        ]  # fmt: skip
        filled = [
            f"{e.cell.words}: {measured(e.fitness)}"
            for e in self.archive.elites().values()
            if e.cell and e.fitness
        ]
        empty = [cell.words for cell in self.archive.empty()]
        question = self.question
        text = variation_prompt(
            question.task, question.backend, question.target, filled, empty, tried
        )
        sha = content_hash(text)
        sample = self.asked.get(sha, 0)
        reply = self.provider.ask(text, sample)
        return Proposal(prompt_sha=sha, sample=sample, text=one_sentence(reply.text))

    def _entry(
        self,
        judged: Judged,
        *,
        island: int,
        parent: Entry | None,
        variation: str = "",
        prompt_sha: str = "",
        sample: int = 0,
    ) -> Entry:
        self.keep(judged.record)
        question = self.question
        place: tuple[Cell, Fitness] | None = placed(
            judged, question.task, question.backend, question.target
        )
        return Entry(
            number=len(self.archive.entries),
            island=island,
            generation=parent.generation + 1 if parent else int(island != EVERYWHERE),
            parent=parent.number if parent else None,
            variation=variation,
            prompt_sha=prompt_sha,
            sample=sample,
            status=judged.record.status,
            record_key=judged.record.key,
            cell=place[0] if place else None,
            fitness=place[1] if place else None,
            text=judged.text if place else "",
        )


def told_of(parent: Entry) -> str:
    """What a prompt says of the text that it shows."""
    assert parent.cell is not None and parent.fitness is not None
    return (
        f"This file passed every check; {measured(parent.fitness)}. It works with "
        f"{parent.cell.words}. Write one that is as right, works in another way, and is faster."
    )


def measured(fitness: Fitness) -> str:
    """`measured: 12 us`; a model's score is no time and is not told as one."""
    return f"measured: {fitness} a call" if fitness.kind == "timed" else "not timed"


def _closed(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"

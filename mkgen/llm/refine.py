"""Refinement: ask, judge, tell the author what was seen, ask again; repair first, then speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mkgen.errors import MkgenError
from mkgen.llm.feedback import feedback
from mkgen.llm.judging import Judge, Judged
from mkgen.llm.prompt import Previous, Prompt
from mkgen.llm.provider import BudgetError, Provider, ProviderError, Reply
from mkgen.llm.question import Question
from mkgen.record import EvidenceKind, Record, Status
from mkgen.tune.variants import seconds_of, spilled

#: As often may one failure come without another between.
SAME_FAILURE = 3
#: Ends that no other text would change.
_NOT_THE_TEXT = (
    Status.UNSUPPORTED, Status.NO_TOOLCHAIN, Status.EVIDENCE_MISSING, Status.ILL_CONDITIONED,
    Status.BAD_TASK, Status.INTERNAL_ERROR,
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """When to stop."""

    rounds: int = 6
    """Answers in all."""
    speed_rounds: int = 2
    """Answers after the first that passes, where a gain can be seen; 0: a pass is the end."""
    seconds: float = float("inf")
    """No round begins later than this."""


@dataclass(frozen=True)
class Outcome:
    """What came of a question."""

    best: Judged | None
    """The fastest of those that pass where they are timed, else the one that spills least, of
    equals the first; None where none passes."""
    rounds: tuple[Judged, ...]
    stopped: str
    """Why there is no further round."""


Told = Callable[[int, Judged], None]


def refine(
    question: Question,
    provider: Provider,
    judge: Judge,
    *,
    sample: int = 0,
    parent: str = "",
    limits: Limits | None = None,
    told: Told = lambda number, judged: None,
) -> Outcome:
    """Rounds of `question` until it passes and nothing is to be gained, or a limit is reached.

    Nothing is kept but what the outcome holds: with the same replies it is the same again. `told`
    hears of every round. UserError, UnsupportedError when there is no prompt for the question.
    """
    return _Refinement(question, provider, judge, sample, parent, limits or Limits(), told).go()


class _Refinement:
    """The rounds of one question."""

    def __init__(
        self,
        question: Question,
        provider: Provider,
        judge: Judge,
        sample: int,
        parent: str,
        limits: Limits,
        told: Told,
    ) -> None:
        self.question, self.provider, self.judge = question, provider, judge
        self.sample, self.parent, self.limits, self.told = sample, parent, limits, told
        self.rounds: list[Judged] = []

    def go(self) -> Outcome:
        started = time.monotonic()
        prompt = self.question.prompt(None)
        stopped = ""
        while not stopped:
            if time.monotonic() - started > self.limits.seconds:
                stopped = f"{self.limits.seconds:g} s are over"
                break
            try:
                reply = self.provider.ask(prompt.text, self.sample)
            except (BudgetError, ProviderError) as error:
                stopped = str(error)
                break
            self._judge(prompt, reply)
            stopped = self._enough()
            if not stopped:
                try:
                    prompt = self.question.prompt(self._previous())
                except MkgenError as error:  # it was there before, so that this is the feedback's
                    stopped = f"no prompt for another round: {error}"
        return Outcome(_best(self.rounds), tuple(self.rounds), stopped)

    def _judge(self, prompt: Prompt, reply: Reply) -> None:
        number = len(self.rounds)
        judged = self.judge.judge(
            prompt,
            self.question.backend,
            reply,
            sample=self.sample,
            round=number,
            parent=self.rounds[-1].record.key if self.rounds else self.parent,
            provider=self.provider.name,
        )
        self.rounds.append(judged)
        self.told(number, judged)

    def _previous(self) -> Previous:
        """The last answer and what is said of it; the last file where the answer held none."""
        question, last = self.question, self.rounds[-1]
        text = next((j.text for j in reversed(self.rounds) if j.text), "")
        said = feedback(last.record, question.task, question.backend, question.target, last.text)
        if last.record.status is Status.PASS:
            said = f"{said}\n\nMake it faster, and keep it right."
        if not last.text and text:
            said = f"{said}\n\nThe file above is the last one that could be taken from an answer."
        return Previous(text, said)

    def _enough(self) -> str:
        """Why the rounds end here; empty when they go on."""
        last = self.rounds[-1]
        if last.record.status in _NOT_THE_TEXT:
            return f"{last.record.status.value}: another text would not change it"
        passed = [j for j in self.rounds if j.record.status is Status.PASS]
        if passed and not self.limits.speed_rounds:
            return "it passes"
        if passed and not any(_may_gain(j.record) for j in passed):
            return "it passes, and nothing shows what would be faster"
        if passed:
            after = len(self.rounds) - 1 - self.rounds.index(passed[0])
            if after >= self.limits.speed_rounds:
                return f"{after} rounds for speed after a pass"
        if last.text and any(j.text == last.text for j in self.rounds[:-1]):
            return "the answer is one that was given before"
        if len(self.rounds) >= self.limits.rounds:
            return f"{len(self.rounds)} rounds"
        failures = [_failure(j.record) for j in self.rounds[-SAME_FAILURE:]]
        if len(failures) == SAME_FAILURE and failures[0] and len(set(failures)) == 1:
            return f"the same failure {SAME_FAILURE} times"
        return ""


def _may_gain(record: Record) -> bool:
    """Whether a further text can be seen to be better: by its time, or by fewer spills."""
    return record.has(EvidenceKind.TIMED) or _spills(record) > 0


def _spills(record: Record) -> int:
    return sum(spilled(artifact) for artifact in record.artifacts)


def _failure(record: Record) -> tuple[str, str]:
    """What makes two failures the same: the end, and where and how, without numbers."""
    if record.status is Status.PASS:
        return ("", "")
    told = "".join(" " if c.isdigit() else c for c in record.reason)
    return (record.status.value, " ".join(told.split())[:200])


def _best(rounds: list[Judged]) -> Judged | None:
    passed = [j for j in rounds if j.record.status is Status.PASS]
    # a stable order: of equals the first
    return min(passed, key=lambda j: (seconds_of(j.record), _spills(j.record)), default=None)

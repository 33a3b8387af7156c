"""Refinement: a stand-in that only reads prompts gets planted faults to pass; when rounds end."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from answer_support import TASKS, hidden_in, in_dialect, reply_of, settings_for, target_of
from llm_planted import PLANTED, RIGHT, SPILLS, Planted
from llm_stand_in import StandIn

from mkgen.codegen.registry import backend_named
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings
from mkgen.llm.feedback import feedback
from mkgen.llm.judging import Judge
from mkgen.llm.prompt import Form, Strategy
from mkgen.llm.provider import BudgetError, Provider, ProviderError, Reply
from mkgen.llm.refine import Limits, Outcome, Question, refine
from mkgen.record import Status

#: In the normal run: a fault of each backend, a sanitizer's, and one of several rounds.
NORMAL = ("no-guard opencl", "two-blocks-one-element hip", "a-size-misspelt-and-a-constant opencl")


def name_of(planted: Planted) -> str:
    return f"{planted.name} {planted.backend}"


EACH = [
    pytest.param(p, id=name_of(p), marks=() if name_of(p) in NORMAL else pytest.mark.acceptance)
    for p in PLANTED
]


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(1) as made:
        yield made


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_for(tmp_path_factory.mktemp("cache"))


def question(task: str, backend: str) -> Question:
    found = backend_named(backend)
    return Question(TASKS[task], found, target_of(found), Strategy.ZERO_SHOT, Form.NATIVE)


def told(outcome: Outcome) -> str:
    """What went on, for a failure."""
    return "\n".join(f"{j.record.status}: {j.record.reason}\n{j.text}" for j in outcome.rounds)


@pytest.mark.parametrize("planted", EACH)
def test_feedback_alone_leads_to_a_pass(
    planted: Planted, workers: Workers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chosen = settings_for(tmp_path_factory.mktemp("cache"), sanitize=planted.sanitize)
    author = StandIn(planted.answer)
    asked = question(planted.task, planted.backend)
    outcome = refine(asked, author, Judge(workers, chosen), limits=Limits(speed_rounds=0))
    ends = tuple(j.record.status.value for j in outcome.rounds)
    assert ends == planted.ends, told(outcome)
    assert outcome.best is outcome.rounds[-1] and outcome.stopped == "it passes"
    assert len(author.followed) == len(ends) - 1, "every step was one that the feedback named"
    for number, judged in enumerate(outcome.rounds):
        generation = judged.record.generation
        assert generation is not None and generation.round == number
        parent = outcome.rounds[number - 1].record.key if number else ""
        assert generation.parent == parent
        said = feedback(judged.record, asked.task, asked.backend, asked.target, judged.text)
        assert not hidden_in(said, judged.record), said
        if number + 1 < len(outcome.rounds):
            assert said in author.asked[number + 1]


def test_ten_cases_are_planted() -> None:
    assert len(PLANTED) >= 10 and len({name_of(p) for p in PLANTED}) == len(PLANTED)
    assert {p.backend for p in PLANTED} >= {"hip", "opencl"}
    assert {name_of(p) for p in PLANTED} >= set(NORMAL)


@pytest.mark.acceptance
def test_a_pass_that_spills_gets_better(workers: Workers, settings: Settings) -> None:
    author = StandIn(in_dialect(SPILLS, "hip"))
    outcome = refine(question("relu", "hip"), author, Judge(workers, settings))
    assert [j.record.status for j in outcome.rounds][0] is Status.PASS, told(outcome)
    assert author.followed and set(author.followed) == {"smaller_tile"}
    assert "spilled to memory" in author.asked[1] and "Nothing was timed" in author.asked[1]
    assert outcome.best is not None and outcome.best is not outcome.rounds[0]
    assert "nothing spilled" in feedback(
        outcome.best.record, TASKS["relu"], backend_named("hip"), target_of(backend_named("hip"))
    )


# -- when it ends -----------------------------------------------------------------------------


class Script(Provider):
    """Gives replies, or raises them, one after another; the last again and again."""

    def __init__(self, *replies: str | Exception) -> None:
        self.replies, self.asked = list(replies), []

    name = identity = "script"

    def ask(self, prompt: str, sample: int) -> Reply:
        self.asked.append((prompt, sample))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply_of(reply)


@pytest.fixture
def asked() -> Question:
    return question("relu", "opencl")


def fenced(text: str) -> str:
    return f"```\n{in_dialect(text, 'opencl')}```\n"


def ends(outcome: Outcome) -> list[str]:
    return [j.record.status.value for j in outcome.rounds]


@pytest.mark.parametrize(
    ("replies", "limits", "statuses", "stopped"),
    [
        (["no"], Limits(), ["no-kernel"] * 3, "the same failure 3 times"),
        (["no", "I cannot", "```\nx\n```"], Limits(), ["no-kernel"] * 5, "the same failure 3"),
        (["no", "I cannot"], Limits(rounds=2), ["no-kernel"] * 2, "2 rounds"),
        ([ProviderError("it is down")], Limits(), [], "it is down"),
        (["no", BudgetError("no money")], Limits(), ["no-kernel"], "no money"),
        (["no"], Limits(seconds=-1.0), [], "-1 s are over"),
        ([fenced(RIGHT.replace("COLS, 64", "CULS, 64"))], Limits(), ["no-kernel"] * 2,
         "the answer is one that was given before"),
    ],
    ids=["same", "changing", "rounds", "provider", "budget", "time", "same-text"],
)  # fmt: skip
def test_when_it_ends(
    asked: Question,
    replies: list[str | Exception],
    limits: Limits,
    statuses: list[str],
    stopped: str,
    workers: Workers,
    settings: Settings,
) -> None:
    outcome = refine(asked, Script(*replies), Judge(workers, settings), limits=limits)
    assert ends(outcome) == statuses
    assert stopped in outcome.stopped and outcome.best is None


def test_a_pass_is_kept_whatever_comes_after(
    asked: Question, workers: Workers, settings: Settings
) -> None:
    heard = []
    outcome = refine(
        asked, Script("no", fenced(RIGHT)), Judge(workers, settings), sample=4, parent="e" * 64,
        told=lambda number, judged: heard.append((number, judged)),
    )  # fmt: skip
    assert ends(outcome) == ["no-kernel", "pass"] and outcome.best is outcome.rounds[1]
    assert outcome.stopped == "it passes, and nothing shows what would be faster"
    assert heard == list(enumerate(outcome.rounds))
    generations = [j.record.generation for j in outcome.rounds]
    assert [g.sample for g in generations if g] == [4, 4]
    assert generations[0] is not None and generations[0].parent == "e" * 64
    assert generations[1] is not None and generations[1].parent == outcome.rounds[0].record.key


def test_the_same_replies_give_the_same_rounds(
    asked: Question, workers: Workers, settings: Settings
) -> None:
    replies = ["no", fenced(RIGHT.replace("COLS, 64", "CULS, 64")), "no", "I cannot"]
    first, second = Script(*replies), Script(*replies)
    limits = Limits(rounds=4)
    made = [refine(asked, s, Judge(workers, settings), limits=limits) for s in (first, second)]
    assert first.asked == second.asked and ends(made[0]) == ends(made[1])
    # what the third and fourth prompt show is the last file that there was
    assert all("CULS" in prompt for prompt, _ in first.asked[2:])
    assert "the last one that could be taken" in first.asked[3][0]
    assert not re.search("CULS", first.asked[1][0])

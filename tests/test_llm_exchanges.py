"""Exchanges are on disk before anything is done with them, paid for once, within a budget."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from llm_support import USAGE, Handler, chunk, endpoint, fails, says, serving

from mkgen.errors import UserError
from mkgen.llm.budget import Budget, Price
from mkgen.llm.exchanges import Exchange, Recorded, Replay, exchanges, read_exchange
from mkgen.llm.provider import BudgetError, Provider, ProviderError, Reply, Usage


class Counting(Provider):
    """Answers at once, or when it is let; says what it was asked."""

    def __init__(self, usage: Usage | None = None, gate: threading.Event | None = None) -> None:
        self.asked: list[tuple[str, int]] = []
        self.identity_text = "counting"
        self.usage = usage or Usage()
        self.gate = gate
        self.entered = threading.Semaphore(0)

    @property
    def name(self) -> str:
        return "counting"

    @property
    def identity(self) -> str:
        return self.identity_text

    def ask(self, prompt: str, sample: int) -> Reply:
        self.asked.append((prompt, sample))
        self.entered.release()
        if self.gate is not None:
            assert self.gate.wait(10)
        return Reply(
            text=f"{prompt} {sample}", model="c-1", finish="stop", usage=self.usage, seconds=0.1
        )


def test_an_exchange_is_kept_whole_and_replayed(tmp_path):
    provider = Counting(Usage(prompt_tokens=5, completion_tokens=6))
    reply = Recorded(provider, tmp_path).ask("größe", 1)
    (path,) = tmp_path.iterdir()
    kept = read_exchange(path)
    assert path.stem == kept.key
    assert kept.reply == reply
    assert (kept.identity, kept.provider, kept.model) == ("counting", "counting", "c-1")
    assert (kept.prompt, kept.sample) == ("größe", 1)
    assert kept.time.endswith("+00:00")
    again = Recorded(provider, tmp_path)
    assert again.ask("größe", 1) == reply
    assert provider.asked == [("größe", 1)]
    assert (again.name, again.identity) == ("counting", "counting")
    assert again.path("größe", 1) == path


def test_prompt_sample_and_identity_are_other_exchanges(tmp_path):
    provider = Counting()
    made = Recorded(provider, tmp_path)
    for prompt, sample in (("a", 0), ("a", 1), ("b", 0)):
        made.ask(prompt, sample)
    provider.identity_text = "another"
    made.ask("a", 0)
    assert len(provider.asked) == len(list(tmp_path.iterdir())) == 4


def test_an_error_is_not_kept(tmp_path):
    with serving(fails(401), says("x")) as server:
        made = Recorded(endpoint(server), tmp_path)
        with pytest.raises(ProviderError):
            made.ask("p", 0)
        assert list(tmp_path.iterdir()) == []
        assert made.ask("p", 0).text == "x"


def test_half_an_answer_is_not_kept(tmp_path):
    def cut(handler: Handler) -> None:
        handler.events()
        handler.event(chunk("half"))

    with serving(cut) as server, pytest.raises(ProviderError):
        Recorded(endpoint(server), tmp_path).ask("p", 0)
    assert list(tmp_path.iterdir()) == []


def _swap(key: str, value: object):
    def damage(text: str) -> str:
        return json.dumps({**json.loads(text), key: value})

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "", lambda text: text[: len(text) // 2], lambda text: "[" * 50_000,
        lambda text: "\0" * len(text), _swap("sample", 1), _swap("prompt", "another"),
        _swap("prompt_sha", "0"), _swap("schema_version", 2), _swap("more", 1),
        _swap("identity", "\ud800"),
    ],
)  # fmt: skip
def test_a_broken_file_is_ignored_with_a_warning_and_asked_again(tmp_path, damage):
    provider, told = Counting(), []
    Recorded(provider, tmp_path).ask("p", 0)
    (path,) = tmp_path.iterdir()
    path.write_text(damage(path.read_text()))
    made = Recorded(provider, tmp_path, warn=told.append)
    assert made.ask("p", 0).text == "p 0"
    assert len(provider.asked) == 2
    assert told and all(path.name in line for line in told)
    assert read_exchange(path).reply.text == "p 0"


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ProviderError, match="cannot be kept"):
        Recorded(Counting(), tmp_path / "file").ask("p", 0)


def test_replay_only_asks_nobody(tmp_path):
    provider = Counting()
    Recorded(provider, tmp_path).ask("p", 0)
    made = Recorded(provider, tmp_path, replay_only=True)
    assert made.ask("p", 0).text == "p 0"
    with pytest.raises(ProviderError, match="sample 1.*without --replay"):
        made.ask("p", 1)
    assert provider.asked == [("p", 0)]


def test_a_directory_is_replayed_as_whoever_made_it(tmp_path):
    provider = Counting()
    Recorded(provider, tmp_path).ask("p", 0)
    replay = Replay(tmp_path)
    assert (replay.name, replay.identity) == ("counting", "counting")
    assert replay.ask("p", 0).text == "p 0"
    with pytest.raises(ProviderError, match="holds no answer"):
        replay.ask("q", 0)
    provider.identity_text = "another"
    Recorded(provider, tmp_path).ask("p", 0)
    with pytest.raises(UserError, match="several providers or settings"):
        Replay(tmp_path)
    with pytest.raises(UserError, match="no exchanges in it"):
        Replay(tmp_path / "empty")


def test_the_same_exchange_of_several_threads_is_paid_for_once(tmp_path):
    gate = threading.Event()
    provider = Counting(gate=gate)
    made = Recorded(provider, tmp_path)
    with ThreadPoolExecutor(8) as pool:
        same = [pool.submit(made.ask, "p", 0) for _ in range(4)]
        others = [pool.submit(made.ask, "p", n) for n in (1, 2, 3)]
        for _ in range(4):  # different ones are asked at the same time
            assert provider.entered.acquire(timeout=10)
        gate.set()
        replies = [future.result() for future in (*same, *others)]
    assert Counter(provider.asked) == {("p", n): 1 for n in range(4)}
    assert len({reply.text for reply in replies[:4]}) == 1


_RUN = """
import sys
from pathlib import Path
from mkgen.llm.endpoint import EndpointSettings
from mkgen.llm.exchanges import Recorded
from mkgen.llm.http import Endpoint
made = Recorded(Endpoint(EndpointSettings("m", sys.argv[1])), Path(sys.argv[2]))
for number in range(6):
    print(made.ask(f"prompt {number}", 0).text, flush=True)
"""


def test_after_kill_9_only_what_is_missing_is_asked_for(tmp_path):
    stuck = threading.Event()

    def last_of_the_first_run(handler: Handler) -> None:
        handler.events()
        handler.event(chunk("half"))
        stuck.set()
        handler.server.released.wait(20)

    first = [says(f"answer {n}") for n in range(3)]
    with serving(*first, last_of_the_first_run, says("later")) as server:
        words = [sys.executable, "-c", _RUN, server.url, str(tmp_path / "kept")]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as child:
            assert stuck.wait(30)
            child.send_signal(signal.SIGKILL)
            out, _ = child.communicate()
        assert out.decode().split("\n")[:3] == ["answer 0", "answer 1", "answer 2"]
        done = subprocess.run(words, capture_output=True, check=True, text=True)
        assert done.stdout.split("\n")[:6] == ["answer 0", "answer 1", "answer 2", *["later"] * 3]
        asked = Counter(server.prompts())
    # the fourth was under way when the first run was killed: nobody has its answer
    assert asked == {f"prompt {n}": 2 if n == 3 else 1 for n in range(6)}
    assert len(exchanges(tmp_path / "kept")) == 6


def test_kill_9_at_any_moment_leaves_whole_files_or_none(tmp_path):
    """The parent kills the child while it writes one exchange after another."""
    writes = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "from test_llm_exchanges import Counting; from mkgen.llm.exchanges import Recorded\n"
        "made = Recorded(Counting(), pathlib.Path(sys.argv[2]))\n"
        "for n in range(10**6): made.ask('p' * 5000, n)"
    )
    kept = tmp_path / "kept"
    words = [sys.executable, "-c", writes, __file__.rpartition("/")[0], str(kept)]
    with subprocess.Popen(words) as child:
        end = time.monotonic() + 30
        while not kept.is_dir() or len(list(kept.iterdir())) < 20:
            assert time.monotonic() < end and child.poll() is None
            time.sleep(0.001)
        child.kill()
    told: list[str] = []
    found = exchanges(kept, told.append)
    assert len(found) >= 19
    assert told == []
    provider = Counting()
    Recorded(provider, kept).ask(found[0].prompt, found[0].sample)
    assert provider.asked == []


# --- budgets ------------------------------------------------------------------------------------

_USED = Usage(prompt_tokens=10, completion_tokens=20)


def test_the_worst_case_is_reserved_before_anything_is_sent(tmp_path):
    provider = Counting(_USED)
    budget = Budget(max_tokens=150, output_tokens=100)
    made = Recorded(provider, tmp_path, budget)
    for n in range(2):  # 4 + 100 fit in 150, and in the 120 that are left
        made.ask("x" * 16, n)
    assert budget.spent_tokens == 60
    with pytest.raises(BudgetError, match="60 of 150 tokens.*may take 104.*--max-tokens"):
        made.ask("x" * 16, 2)
    assert len(provider.asked) == 2
    assert made.ask("x" * 16, 0).text  # what is there costs nothing
    assert budget.spent_tokens == 60


def test_dollars(tmp_path):
    provider = Counting(Usage(prompt_tokens=1000, completion_tokens=500))
    price = Price(2.0, 10.0)  # 0.007 an exchange; 0.010004 at worst
    budget = Budget(max_usd=0.0175, price=price, output_tokens=1000)
    made = Recorded(provider, tmp_path, budget)
    reply = made.ask("x" * 8, 0)
    assert reply.usage.cost == pytest.approx(0.007)
    assert made.ask("x" * 8, 0).usage.cost == reply.usage.cost
    made.ask("x" * 8, 1)
    with pytest.raises(BudgetError, match=r"\$0.0140 of \$0.0175.*\$0.0100"):
        made.ask("x" * 8, 2)
    assert budget.spent_usd == pytest.approx(0.014)
    with pytest.raises(UserError, match="--price"):
        Budget(max_usd=1.0)


def test_earlier_runs_count(tmp_path):
    provider = Counting(_USED)
    for n in range(3):
        Recorded(provider, tmp_path).ask("x" * 16, n)
    budget = Budget(max_tokens=100, max_usd=1.0, price=Price(1e3, 1e4), output_tokens=5)
    made = Recorded(provider, tmp_path, budget)
    assert budget.spent_tokens == 90
    assert budget.spent_usd == pytest.approx(3 * (0.01 + 0.2))
    made.ask("x" * 16, 3)
    with pytest.raises(BudgetError):
        made.ask("x" * 16, 4)
    assert len(provider.asked) == 4


def test_recorded_costs_stay_what_they_were(tmp_path):
    made = Recorded(Counting(_USED), tmp_path, Budget(price=Price(0, 0)))
    made.ask("p", 0)
    budget = Budget(price=Price(1e6, 1e6))
    Recorded(Counting(), tmp_path, budget)
    assert (budget.spent_usd, budget.spent_tokens) == (0, 30)


def test_without_usage_tokens_are_estimated(tmp_path):
    budget = Budget(max_tokens=1000, output_tokens=10)
    Recorded(Counting(), tmp_path, budget).ask("x" * 398, 0)
    assert budget.spent_tokens == 100 + 100  # the answer is two characters longer
    (found,) = exchanges(tmp_path)
    assert found.reply.usage == Usage()


def test_what_failed_is_not_held_any_longer(tmp_path):
    with serving(fails(400), says("x")) as server:
        budget = Budget(max_tokens=110, output_tokens=100)
        made = Recorded(endpoint(server), tmp_path, budget)
        with pytest.raises(ProviderError):
            made.ask("p", 0)
        made.ask("p", 0)
        assert budget.spent_tokens == USAGE["total_tokens"]


def test_threads_wait_for_what_is_under_way_and_never_pass_the_limit(tmp_path):
    """Each may take 104 and takes 30: with 150 they go one by one, and four fit."""
    provider = Counting(_USED)
    budget = Budget(max_tokens=150 + 50, output_tokens=100)
    made = Recorded(provider, tmp_path, budget)
    ended: list[str] = []

    def ask(n: int) -> None:
        try:
            made.ask("x" * 16, n)
            ended.append("answered")
        except BudgetError:
            ended.append("refused")

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert Counter(ended) == {"answered": 4, "refused": 8}
    assert budget.spent_tokens == 120


def test_what_one_thread_holds_another_cannot_have(tmp_path):
    gate = threading.Event()
    provider = Counting(_USED, gate)
    made = Recorded(provider, tmp_path, Budget(max_tokens=210, output_tokens=100))
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(made.ask, "x" * 16, n) for n in range(3)]
        for _ in range(2):
            assert provider.entered.acquire(timeout=10)
        assert not provider.entered.acquire(timeout=0.2)  # the third waits: it may not fit
        gate.set()
        assert len([future.result(10) for future in futures]) == 3


def test_an_exchange_is_a_document():
    reply = Reply(text="t", model="m", finish="stop", seconds=1.0)
    made = Exchange(
        identity="i", provider="p", model="m", prompt="q", prompt_sha="s", sample=0, reply=reply,
        time="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    assert json.loads(made.canonical_json())["schema_version"] == 1

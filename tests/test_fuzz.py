"""Every parser under strange input, shortly (`python -m tests.fuzz` is the long run)."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from fuzz.drive import Tally, by_mutation, feed
from fuzz.strategies import inputs
from fuzz.surface import ROOT, Surface, scratch
from fuzz.surfaces import surfaces
from fuzz.watch import Forbidden, watched
from hypothesis import HealthCheck, Phase, given, settings

EXAMPLES = 50
SHORT = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", surfaces())
def test_a_parser_reads_or_refuses(name: str) -> None:
    surface = surfaces()[name]
    for data in surface.seeds():  # unwatched: what is imported at first use is now there
        surface.target(data)

    @SHORT
    @given(inputs(surface))
    def check(data: bytes) -> None:
        with watched():
            surface.target(data)

    check()


def planted(target) -> Surface:
    return Surface("planted", target, lambda: [b"1 + 2", b"x"], "expression")


def boom(data: bytes) -> None:
    if b"(" in data:
        raise ValueError("planted")


def swallowed(data: bytes) -> None:
    if b"*" in data:
        try:
            eval("1 + 1")
        except BaseException:  # as a careless parser would
            return


def slow(data: bytes) -> None:
    if data == b"x":
        end = time.thread_time() + 1.2
        while time.thread_time() < end:
            pass


@pytest.mark.parametrize(
    ("target", "kind"), [(boom, "ValueError"), (swallowed, "Forbidden"), (slow, "slow")]
)
def test_the_fuzzer_finds_what_is_planted(target, kind: str) -> None:
    tally = by_mutation(planted(target), 300, 20.0, 0)
    assert [k.partition(" ")[0] for k in tally.crashes] == [kind]


def test_the_fuzzer_finds_nothing_where_nothing_is() -> None:
    tally = by_mutation(planted(lambda data: None), 300, 20.0, 0)
    assert tally.inputs == 300 and not tally.crashes


@pytest.mark.parametrize(
    "act",
    [
        lambda: eval("1"),
        lambda: exec("pass"),
        lambda: compile("1", "x", "eval"),
        lambda: __import__("this"),
        lambda: open("/etc/passwd").close(),
        lambda: (scratch().parent / "elsewhere").mkdir(),
        lambda: subprocess.run(["true"]),
    ],
    ids=["eval", "exec", "compile", "import", "open", "mkdir", "subprocess"],
)
def test_a_parser_may_not(act) -> None:
    with pytest.raises(Forbidden), watched():
        act()


def test_what_is_forbidden_counts_when_it_is_swallowed() -> None:
    tally = Tally("planted")
    assert not feed(planted(swallowed), b"*", tally)


@pytest.mark.long
def test_the_long_run_reports(tmp_path) -> None:
    words = ["--surface", "target,arrays", "--runs", "300", "--seconds", "30", "--out"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words, str(tmp_path / "out.md")],
        cwd=ROOT,
        check=False,
    )
    text = (tmp_path / "out.md").read_text()
    assert done.returncode == 0 and "600 inputs, 0 crashes" in text

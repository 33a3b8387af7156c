"""The archive, islands and bandit, and an evolution with a stand-in for the model."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from evolve_support import (
    CPU,
    OPENCL,
    QUESTION,
    ROW_SUM,
    Schedule,
    StandIn,
    evaluator,
    fake_judge,
    parse_schedule,
    real_judge,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mkgen.errors import UserError
from mkgen.evaluate.pool import Workers
from mkgen.files import whole_lines
from mkgen.llm.archive import EVERYWHERE, Archive, Entry, rank
from mkgen.llm.describe import CELLS, Decomposition, Memory, describe, reachable
from mkgen.llm.evolve import JOURNAL, Effort, evolve
from mkgen.llm.fitness import Fitness
from mkgen.llm.journal import Begun, Journal
from mkgen.llm.placing import candidate_of, seed_texts
from mkgen.llm.provider import BudgetError, ProviderError
from mkgen.llm.variations import DECAY, VARIATIONS, Bandit, Variation, eligible, one_sentence
from mkgen.program import PrecisionClass
from mkgen.record import Status

REACHABLE = reachable(ROW_SUM, OPENCL, CPU)


def entry(number, cell=CELLS[0], value=0.5, kind="model", island=0, parent=None, **more):
    passed = cell is not None
    fitness = Fitness(kind=kind, value=value) if passed else None
    return Entry(
        number=number, island=island, generation=0, parent=parent, variation="",
        status=Status.PASS if passed else Status.CRASHED, record_key=f"key {number}",
        cell=cell, fitness=fitness, text=f"text {number}" if passed else "", **more,
    )  # fmt: skip


def folded(entries, islands=3, seed=0) -> Archive:
    archive = Archive(islands, seed, REACHABLE)
    for each in entries:
        archive.add(each)
    return archive


@st.composite
def histories(draw):
    made = []
    for number in range(draw(st.integers(0, 60))):
        cell = draw(st.sampled_from([None, *CELLS[:6]]))
        value = draw(st.floats(1e-6, 1.0))
        kind = draw(st.sampled_from(["model", "timed"]))
        island = draw(st.integers(EVERYWHERE, 2))
        made.append(entry(number, cell, value, kind, island))
    return made


@given(histories(), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_the_best_never_gets_worse_and_never_leaves(history, seed):
    archive, before = Archive(3, seed, REACHABLE), None
    for each in history:
        archive.add(each)
        best = archive.best()
        if before is not None:
            assert best is not None and rank(best) <= rank(before)
        before = best
        passing = [e for e in archive.entries if e.fitness is not None]
        assert best == min(passing, key=rank, default=None)
        for cell, elite in archive.elites().items():
            assert elite == min((e for e in passing if e.cell == cell), key=rank)


@given(histories())
@settings(max_examples=30, deadline=None)
def test_the_same_entries_give_the_same_archive(history):
    one, other = folded(history, seed=5), folded(history, seed=5)
    assert one.populations == other.populations
    chances = random.Random(1), random.Random(1)
    assert [one.parent(0, chances[0]) for _ in range(5)] == [
        other.parent(0, chances[1]) for _ in range(5)
    ]


def test_what_fails_never_enters_and_what_was_measured_comes_first():
    archive = folded([entry(0, None), entry(1, CELLS[0], 1.0), entry(2, CELLS[0], 9.0, "timed")])
    assert list(archive.elites().values()) == [archive.entries[2]]
    assert not archive.add(entry(3, CELLS[0], 1.0))
    assert archive.add(entry(4, CELLS[0], 8.0, "timed"))
    assert archive.counts[CELLS[0]] == 4
    with pytest.raises(ValueError, match="entry 9 after 5"):
        archive.add(entry(9))
    assert str(Fitness(kind="model", value=0.5)) == "model 0.500"
    assert str(Fitness(kind="timed", value=1.5e-5)) == "15 us"


def test_islands_are_apart_but_for_migration_and_seeds():
    archive = folded([entry(0, CELLS[0], 0.9, island=EVERYWHERE), entry(1, CELLS[1], 0.8)])
    assert [sorted(map(str, p)) for p in archive.populations] == [
        sorted(map(str, CELLS[:2])), [str(CELLS[0])], [str(CELLS[0])],
    ]  # fmt: skip
    for number in range(2, 12):
        archive.add(entry(number, CELLS[2 + number % 3], 0.95, island=number % 3))
    received = [p for i, p in enumerate(archive.populations)
                if any(e.island not in (i, EVERYWHERE) for e in p.values())]  # fmt: skip
    assert len(received) == 1


def test_parents_are_drawn_by_novelty_and_fitness():
    cells = [c for c in REACHABLE if c.decomposition is Decomposition.TILE][:2]
    archive = folded([entry(0, cells[0], 0.9), entry(1, cells[1], 0.1)], islands=1)
    drawn = [archive.parent(0, random.Random(n)).number for n in range(400)]
    assert 0.6 < drawn.count(0) / 400 < 0.73  # 1 to 1/2, with as many empty neighbours each
    for number in range(2, 8):
        archive.add(entry(number, None, parent=0))
    drawn = [archive.parent(0, random.Random(n)).number for n in range(400)]
    assert drawn.count(0) < 150  # it was a parent six times
    assert folded([]).parent(0, random.Random(0)) is None


def test_the_bandit_prefers_what_helped_lately():
    variations = [Variation(text) for text in ("good", "bad", "new")]
    bandit, chance = Bandit(variations), random.Random(0)
    assert {bandit.pick(variations, random.Random(n)).text for n in range(30)} == {
        "good", "bad", "new",
    }  # fmt: skip
    for _ in range(40):
        bandit.learn("good", True)
        bandit.learn("bad", False)
    assert bandit.credit("good") == 1.0 and bandit.credit("bad") == bandit.credit("new") == 0.0
    assert bandit.pick(variations, chance).text == "new"
    picks = []
    for _ in range(60):
        picks.append(bandit.pick(variations, chance).text)
        bandit.learn(picks[-1], picks[-1] == "good")
    assert picks.count("good") > 30 and "new" in picks
    for _ in range(200):
        bandit.learn("good", False)
    assert bandit.credit("good") < 0.05 and DECAY < 1
    bandit.add("good")
    bandit.add("")
    bandit.add("another")
    assert [v.text for v in bandit.variations] == ["good", "bad", "new", "another"]


def test_variations_lead_into_empty_neighbours_first():
    start = next(c for c in REACHABLE if str(c) == "shared/row/scalar")
    archive = folded([entry(0, start)])
    aims = {v.aim for v in eligible(VARIATIONS, start, archive) if v.aim}
    assert aims == {"registers", "fed", "tile", "split", "vector"}
    full = folded([entry(n, c) for n, c in enumerate(REACHABLE)])
    assert {v.aim for v in eligible(VARIATIONS, start, full) if v.aim} == aims | {"element"}
    assert all(v.aim is None for v in eligible(VARIATIONS, None, archive))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Use two rows per thread.", "Use two rows per thread."),
        ("Sure, here:\n\n- **Use `float4` loads** now. Then more.", "Use float4 loads now."),
        ("1. Keep 2.5 rows in flight without a stop", "Keep 2.5 rows in flight without a stop."),
        ("```c\nint x;\n```\nUse two rows per thread!", "Use two rows per thread!"),
        ("# Idea\nSee [this](https://e.org/x) page for tiles.", "See this( page for tiles."),
        ("", ""), ("ok", ""), ("```\nonly code here now\n```", ""), ("word " * 60, ""),
        ("a\x00b c\x1b[31m d e.", "ab c31m d e."),
    ],
)  # fmt: skip
def test_one_sentence_is_left_of_a_proposal(reply, expected):
    found = one_sentence(reply)
    assert found == expected
    assert len(found) <= 200 and "\n" not in found and "```" not in found


def test_the_library_has_a_schedule_for_every_reachable_cell():
    bench = ROW_SUM.workloads()[0]
    for cell in REACHABLE:
        text = Schedule(cell=cell).text
        program = candidate_of(text, ROW_SUM, OPENCL, CPU).program(bench)
        assert describe(text, program, OPENCL) == cell
        assert parse_schedule(text).text == text
    assert len(REACHABLE) == 20


def test_an_evolution_fills_cells_and_replays(tmp_path):
    one, other = StandIn(), StandIn()
    effort = Effort(50, seed=1)
    kept = []
    made = evolve(
        QUESTION, one, evaluator(fake_judge), fake_judge, tmp_path / "a", effort, keep=kept.append
    )
    assert made.stopped == "evaluations" and len(made.archive.entries) == len(kept) == 50
    assert made.archive.coverage() >= 0.6
    assert {e.status for e in made.archive.entries} > {Status.PASS, Status.NO_KERNEL}
    proposed = made.bandit.variations[len(VARIATIONS):]  # fmt: skip
    assert proposed and all(v.text.endswith(".") for v in proposed)
    evolve(QUESTION, other, evaluator(fake_judge), fake_judge, tmp_path / "b", effort)
    assert one.asked == other.asked, "the prompts are a function of the seed"
    for prompt, _ in one.asked:
        assert not any(f"{k} = {v}" in prompt for s in ROW_SUM.heldout for k, v in s.items())
    third = StandIn()
    evolve(QUESTION, third, evaluator(fake_judge), fake_judge, tmp_path / "c", Effort(50, seed=2))
    assert third.asked != one.asked


def test_it_goes_on_in_pieces_as_in_one_piece(tmp_path):
    whole, pieces = StandIn(), StandIn()
    evolve(QUESTION, whole, evaluator(fake_judge), fake_judge, tmp_path / "a", Effort(36))
    for evaluations in (2, 3, 20, 21, 36):
        effort = Effort(evaluations)
        evolve(QUESTION, pieces, evaluator(fake_judge), fake_judge, tmp_path / "b", effort)
    assert pieces.asked == whole.asked
    a, b = ((tmp_path / d / JOURNAL).read_bytes() for d in "ab")
    assert a == b


@pytest.mark.parametrize("error", [BudgetError, ProviderError])
def test_what_the_provider_says_ends_it_well(tmp_path, error):
    class Stops(StandIn):
        def ask(self, prompt, sample):
            if len(self.asked) == 3:
                raise error("no more of it")
            return super().ask(prompt, sample)

    made = evolve(QUESTION, Stops(), evaluator(fake_judge), fake_judge, tmp_path, Effort(30))
    assert made.stopped == "no more of it"
    assert len(whole_lines((tmp_path / JOURNAL).read_bytes())) == 1 + len(made.archive.entries)
    none = Effort(30, seconds=0)
    again = evolve(QUESTION, StandIn(), evaluator(fake_judge), fake_judge, tmp_path, none)
    assert again.stopped == "seconds" and again.archive.entries == made.archive.entries


def test_a_journal_of_something_else_is_refused(tmp_path):
    evolve(QUESTION, StandIn(), evaluator(fake_judge), fake_judge, tmp_path, Effort(5))
    with pytest.raises(UserError, match="another evolution .seed differ"):
        evolve(QUESTION, StandIn(), evaluator(fake_judge), fake_judge, tmp_path, Effort(6, seed=9))
    path = tmp_path / JOURNAL
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"value":1.0', b'"value":1.5'))
    with pytest.raises(UserError, match="line 2 was not written here"):
        evolve(QUESTION, StandIn(), evaluator(fake_judge), fake_judge, tmp_path, Effort(6))
    path.write_bytes(data + b"{}\n")
    with pytest.raises(UserError, match="line 7 is no event"):
        evolve(QUESTION, StandIn(), evaluator(fake_judge), fake_judge, tmp_path, Effort(6))


def test_a_journal_torn_at_any_byte_keeps_its_whole_lines(tmp_path):
    begun = Begun(
        task_hash="t", target=CPU, precision=PrecisionClass.STRICT, strategy="s", form="f",
        seed=0, islands=1, seeds=0, proposals=0, notes=(),
    )  # fmt: skip
    journal = Journal(tmp_path / JOURNAL, begun)
    for number in range(3):
        journal.append(entry(number))
    journal.close()
    data = (tmp_path / JOURNAL).read_bytes()
    for size in range(0, len(data) + 1, 7):
        (tmp_path / JOURNAL).write_bytes(data[:size])
        again = Journal(tmp_path / JOURNAL, begun)
        whole = max(1, data[:size].count(b"\n"))
        assert [e.number for e in again.events] == list(range(whole - 1))
        again.append(entry(whole - 1))
        again.close()
        assert len(whole_lines((tmp_path / JOURNAL).read_bytes())) == whole + 1


def test_killed_again_and_again_it_loses_nothing(tmp_path):
    """A real process, killed at any moment; what comes out is as if it never was."""
    effort = Effort(40, seed=3)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    evolve(QUESTION, StandIn(), evaluator(fake_judge), fake_judge, whole, effort)
    path = killed / JOURNAL
    chance, before, best = random.Random(7), b"", None
    for kill in range(1, 6):
        child = _forked(killed, effort)
        while _lines(path) < 7 * kill:
            time.sleep(0.005)
        time.sleep(chance.random() * 0.05)
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "it ended before it could be killed"
        data = path.read_bytes()
        data = data[: data.rfind(b"\n") + 1]
        assert data.startswith(before), "a finished entry was lost"
        archive = folded(_entries(data), seed=3)
        if best is not None:
            assert rank(archive.best()) <= rank(best)
        before, best = data, archive.best()
    assert os.waitpid(_forked(killed, effort), 0)[1] == 0
    assert path.read_bytes() == (whole / JOURNAL).read_bytes()


def _forked(directory: Path, effort: Effort) -> int:
    """A child that evolves in `directory` and takes its time; forked, for it is to start soon."""

    def judge(text: str):
        time.sleep(0.03)
        return fake_judge(text)

    child = os.fork()
    if child == 0:
        try:
            evolve(QUESTION, StandIn(), evaluator(judge), judge, directory, effort)
            os._exit(0)
        finally:
            os._exit(1)
    return child


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _entries(data: bytes) -> list[Entry]:
    lines = [line for line in whole_lines(data) if b'"event":"entry"' in line]
    return [Entry.model_validate_json(line) for line in lines]


def test_seeds_are_kernels_of_templates(tmp_path):
    texts = seed_texts(ROW_SUM, OPENCL, CPU, 3)
    assert len(set(texts)) == 3 and all(t.startswith("/* mkgen") for t in texts)
    bench = ROW_SUM.workloads()[0]
    program = candidate_of(texts[0], ROW_SUM, OPENCL, CPU).program(bench)
    assert describe(texts[0], program, OPENCL).memory is Memory.SHARED


def test_a_few_steps_by_the_real_protocol(tmp_path):
    """One seed and two answers, judged on this machine's CPU."""
    with Workers(2, hidden=[tmp_path]) as workers:
        judge = real_judge(workers, tmp_path / "cache")
        effort = Effort(3, seeds=1, proposals=0, seed=3)
        sure = StandIn(faults=False)
        made = evolve(QUESTION, sure, evaluator(judge), judge, tmp_path / "run", effort)
    assert [e.status for e in made.archive.entries] == [Status.PASS] * 3
    assert len(made.archive.elites()) == 3
    assert all(e.fitness.kind == "model" for e in made.archive.entries)

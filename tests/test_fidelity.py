"""Pairs of verdicts (benchmarks/fidelity.py): which are made, and which belong together."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import fidelity
from fidelity_cases import Case, Selection, read
from fidelity_table import RACE, Pair, pairs, table, verdict

from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings
from mkgen.target import Target

PASS = {"status": "pass", "message": ""}
WRONG = {"status": "wrong-output", "message": "output[0]: expected 1, got 2"}
BESIDE = {"status": "crashed", "message": "out-of-bounds write: 4 bytes after buffer 'y'"}


def line(key: str, told: str = "", race: str = "", **found: Any) -> dict[str, Any]:
    """As `fidelity.py` writes it."""
    plain = {"kind": "mutant" if told else "correct", "backend": "cuda", "key": key}
    return plain | {"text_sha": key, "told": told, "race": race} | found


def test_verdicts_belong_together_by_key_and_text() -> None:
    cases = [line("a", host=PASS), line("b", host=WRONG), line("c", host=PASS, device=WRONG)]
    seen = [{"key": k, "text_sha": k, "device": PASS} for k in "ab"]
    found = pairs([*seen, *cases, line("d", host=PASS)])
    assert [p.agrees for p in found] == [True, False, False]
    assert [p.line["key"] for p in found] == ["a", "b", "c"], "of d there is one verdict only"
    seen[1]["text_sha"] = "another"
    with pytest.raises(ValueError, match="b: another text"):
        pairs([*seen, *cases])


def test_what_did_not_run_is_no_verdict() -> None:
    assert verdict(PASS) == "right"
    assert verdict(WRONG) == verdict(BESIDE) == "wrong"
    assert verdict({"status": "compile-failed", "message": ""}) == ""
    assert verdict({"status": "declined", "message": "no GPU"}) == ""
    assert verdict({"status": "crashed", "message": "relu: refused: not implemented"}) == ""


def test_a_race_counts_as_a_disagreement_and_is_told_apart() -> None:
    found = pairs([
        *(line(f"right{i}", host=PASS, device=PASS) for i in range(6)),
        line("lost", "barrier: x => (nothing)", "a barrier was removed", host=WRONG, device=WRONG),
        line("won", "barrier: x => (nothing)", "a barrier was removed", host=WRONG, device=PASS),
        line("beside", "bound: x => y", host=BESIDE, device=PASS),
        line("unclear", "offset: x => y", host=WRONG, device=PASS),
        line("other", "axis: x => y", host=PASS, device=WRONG),
        line("refused", "axis: x => y", host=PASS, device={"status": "declined", "message": ""}),
    ])  # fmt: skip
    text = table(found)
    assert "11 pairs" in text and "7 agree, 63.64%" in text
    assert "2 are races by construction, of which 1 differ" in text
    assert "6 of 9 agree, 66.67%" in text
    assert f"## {RACE} (1)" in text and "## A write beside a buffer (1)" in text
    assert "## Not explained (1)" in text and "## Caught on the GPU only (1)" in text
    assert "nothing ran on one side (1)" in text
    assert "| cuda | mutant | 5 | 1 | 4 | 4 | 2 | 1 |" in text


def test_a_tile_written_beyond_its_end_is_named() -> None:
    told = "bound: e < TILE_N * TILE_K; => for (; e < TILE_N * TILE_K + 1; e += THREADS) {"
    assert "shared tile" in Pair(line("a", told), WRONG, PASS).why


@pytest.fixture(scope="module")
def few() -> list[Case]:
    """Cases of one task, a product, on the backends whose default arch is no NVIDIA GPU."""
    return list(chosen())


def chosen() -> Iterator[Case]:
    """Of a seed."""
    return Selection(("pallas", "hip"), 1, 1, 3, seed=8, first=32, step=93).cases()


def test_a_seed_gives_the_same_texts_for_the_arch_that_runs(few: list[Case]) -> None:
    assert [(c.key, c.program.text_sha) for c in few] == [
        (c.key, c.program.text_sha) for c in chosen()
    ]
    mutants = [c for c in few if c.kind == "mutant"]
    assert {c.backend for c in mutants} == {"pallas", "hip"}
    assert {str(c.program.target) for c in mutants} == {"pallas:sm_90", "hip:sm_90"}
    assert all(bool(c.race) == c.told.startswith("barrier") for c in few)


def test_a_case_is_read_back_with_the_text_it_had(few: list[Case]) -> None:
    case = next(c for c in few if c.kind == "mutant")
    written = case.line() | {"program": case.program.model_dump(mode="json")}
    assert read(written) == case
    assert Target.parse(str(read(written).program.target)) == case.program.target
    written["program"]["sources"][0]["body"] += "\n"
    with pytest.raises(ValueError, match="not the one"):
        read(written)


def test_a_mutant_shares_no_worker(few: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    """One wrote beyond a buffer, and the honest text that came next died of it."""
    met: list[tuple[str, Workers]] = []

    def judge(case: Case, role: str, workers: Workers, settings: Settings) -> dict[str, Any]:
        met.append((case.kind, workers))
        return dict(PASS)

    monkeypatch.setattr(fidelity, "_judged", judge)
    settings = Settings(Judge(fidelity.scales))
    with Workers() as shared:
        for case in few:
            fidelity.judged(case, "emulate", shared, settings)
    assert {kind for kind, _ in met} == {"correct", "mutant", "odd"}
    alone = [workers for kind, workers in met if kind == "mutant"]
    assert len(set(map(id, [shared, *alone]))) == len(alone) + 1
    assert all(workers is shared for kind, workers in met if kind != "mutant")

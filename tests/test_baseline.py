"""Runs against an earlier one: every kind of difference, and what ends with 1."""

from __future__ import annotations

from typing import Any

import pytest
from cli_support import call

from mkgen.evaluate.baseline import REGRESSIONS, Kind, compare_runs
from mkgen.evaluate.store import RunStore
from mkgen.program import Artifact, PrecisionClass, Resources
from mkgen.record import (
    ErrorFigures,
    Evidence,
    EvidenceKind,
    RanOn,
    Record,
    Speed,
    Status,
    Timing,
)
from mkgen.target import Target


def timing_of(median: float, low: float, high: float) -> Timing:
    return Timing(
        candidate=Speed(name="candidate", median=median, low=low, high=high, samples=20),
        host_median=median, floor=0.0, floor_reason="", flush_bytes=1, flush_verified=True,
        outputs_checked=3,
    )  # fmt: skip


FAST, SLOW = timing_of(0.001, 0.00098, 0.00102), timing_of(0.0012, 0.00118, 0.00123)


def evidence(kind: EvidenceKind, timing: Timing | None = None) -> Evidence:
    on_device = kind in (EvidenceKind.DEVICE, EvidenceKind.TIMED)
    return Evidence(
        kind=kind, executor="e", executed="artifact 0" if on_device else "source t", compiler="c",
        compiler_sha="0", ran_on=RanOn(vendor="v", arch="gfx942", name="a device"),
        workloads=("bench",), cannot_see=(), timing=timing,
    )  # fmt: skip


def record(task: str = "relu", **changes: Any) -> Record:
    status = changes.pop("status", Status.PASS)
    passed = status is Status.PASS
    timing = changes.pop("timing", None)
    seen = (EvidenceKind.COMPILED, EvidenceKind.EMULATED, EvidenceKind.DEVICE)
    kinds = [evidence(kind) for kind in seen]
    kinds += [evidence(EvidenceKind.TIMED, timing)] if timing else []
    artifact = Artifact(
        arch="gfx942", format="hsaco", path="/x", sha="0", compiler="clang 22", command="clang",
        compiler_sha=changes.pop("compiler_sha", "a" * 64), checked="ELF", seconds=1.0,
        resources={"k": Resources(registers=changes.pop("registers", 32),
                                  spill_bytes=changes.pop("spilled", 0))},
    )  # fmt: skip
    fields: dict[str, Any] = {
        "task": task, "task_hash": "h", "target": Target.parse("hip:gfx942"),
        "precision": PrecisionClass.STRICT, "status": status, "reason": "",
        "evidence": tuple(kinds) if passed else (), "results": (),
        "error": ErrorFigures(max_abs=1, max_rel=1, budget=2, share=0.5) if passed else None,
        "parameters": {}, "variant": None, "text_sha": "t", "artifacts": (artifact,),
        "seconds": 1.0, "mkgen_version": "0",
    }  # fmt: skip
    return Record(**(fields | changes))


BROKEN = record(status=Status.WRONG_OUTPUT, reason="element 3 is off")


@pytest.mark.parametrize(
    ("before", "now", "kind", "told"),
    [
        (record(), BROKEN, Kind.BROKEN, "wrong-output: element 3 is off"),
        (BROKEN, record(), Kind.FIXED, "wrong-output before"),
        (None, record(), Kind.NEW, "not in the baseline"),
        (record(), None, Kind.MISSING, "not in this run"),
        (record(timing=FAST), record(), Kind.MISSING, "no timed evidence"),
        (record(spilled=4), record(spilled=16), Kind.SPILLING, "4 bytes per thread before, 16"),
        (record(), record(registers=40), Kind.REGISTERS, "32 per thread before, 40 now"),
        (record(timing=FAST), record(timing=SLOW), Kind.SLOWER, "0.001 s before, 0.0012 s now"),
        (record(timing=SLOW), record(timing=FAST), Kind.FASTER, "0.0012 s before, 0.001 s now"),
        (record(), record(compiler_sha="b" * 64), Kind.COMPILER, "clang 22, but another binary"),
    ],
)
def test_each_kind(before: Record | None, now: Record | None, kind: Kind, told: str) -> None:
    changes = compare_runs([before] if before else [], [now] if now else [])
    assert [(c.kind, c.regression) for c in changes] == [(kind, kind in REGRESSIONS)]
    assert told in changes[0].told
    assert changes[0].name == "relu -> hip:gfx942"


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (record(), record(seconds=9.0)),
        (BROKEN, record(status=Status.CRASHED)),
        # an estimate, or a time against none, is not slower
        (record(estimate_seconds=1.0), record(estimate_seconds=2.0)),
        (record(), record(timing=SLOW).model_copy(update={"evidence": record().evidence})),
        (record(spilled=16), record(spilled=4)),
        (record(registers=40), record(registers=32)),
    ],
)
def test_what_is_no_difference(before: Record, now: Record) -> None:
    assert compare_runs([before], [now]) == []


def test_a_time_within_the_spread_is_not_slower() -> None:
    near = timing_of(0.00103, 0.00099, 0.00108)
    assert compare_runs([record(timing=FAST)], [record(timing=near)]) == []


def test_the_last_record_counts_and_regressions_come_first() -> None:
    before = [BROKEN, record(), record("gelu"), record("tanh", status=Status.CRASHED)]
    now = [record("tanh"), record("gelu", spilled=8), BROKEN]
    kinds = [(c.name.split()[0], c.kind) for c in compare_runs(before, now)]
    assert kinds == [("relu", Kind.BROKEN), ("gelu", Kind.SPILLING), ("tanh", Kind.FIXED)]


def test_the_command(capfd, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MKGEN_CACHE", str(tmp_path / "cache"))
    task = ("eval", "--task", "relu", "--backend", "hip", "--json")
    first = call(capfd, *task, "--out", "one", "--junit", "one.xml")
    assert first.code == 0
    same = call(capfd, *task, "--out", "two", "--baseline", "one", "--junit", "two.xml")
    assert (same.code, same.document["changes"]) == (0, [])
    assert "nothing differs from one" in same.err
    names = [
        [line for line in (tmp_path / f).read_text().split("<") if line.startswith("testcase")]
        for f in ("one.xml", "two.xml")
    ]
    assert [n.split(" time=")[0] for n in names[0]] == [n.split(" time=")[0] for n in names[1]]
    # a task of the baseline that was not asked for is not missing, one of --all is
    store = RunStore(tmp_path / "one")
    kept = store.records()[0]
    store.append(kept.model_copy(update={"task": "gone"}))
    less = dict(kept.artifacts[0].resources)
    less = {k: r.model_copy(update={"registers": 1}) for k, r in less.items()}
    artifact = kept.artifacts[0].model_copy(update={"resources": less})
    store.append(kept.model_copy(update={"artifacts": (artifact,)}))
    store.close()
    resumed = ("--out", "two", "--resume", "--baseline", "one/records.jsonl")
    more = call(capfd, *task, *resumed)
    assert [c["kind"] for c in more.document["changes"]] == ["registers"]
    assert more.code == 0
    backend = ("eval", "--backend", "hip", "--task", "*lu", "--json")
    assert call(capfd, *backend, "--out", "none", "--baseline", "nowhere").code == 2
    assert not (tmp_path / "none").exists()

"""Records on disk, and what is made of them."""

from __future__ import annotations

import csv
import os
import stat
from xml.etree import ElementTree

import pytest

from mkgen.errors import UserError
from mkgen.evaluate.reports import write_csv, write_junit
from mkgen.evaluate.store import RunStore, record_key
from mkgen.evaluate.wording import headline
from mkgen.files import atomic_write
from mkgen.program import PrecisionClass, Variant
from mkgen.record import ErrorFigures, Evidence, EvidenceKind, RanOn, Record, Status
from mkgen.target import Target

TARGET = Target(backend="fake", arch="one")


def record(task="t", status=Status.PASS, size=1, reason="", target=TARGET):
    passed = status is Status.PASS
    evidence = Evidence(
        kind=EvidenceKind.EMULATED, executor="e", executed="source sha", compiler="c",
        compiler_sha="0", ran_on=RanOn(vendor="v", arch="x86-64", name="A CPU"),
        workloads=("check1",), cannot_see=(),
    )  # fmt: skip
    return Record(
        task=task, task_hash=f"hash of {task}", target=target, precision=PrecisionClass.STRICT,
        status=status, reason=reason, evidence=(evidence,) if passed else (), results=(),
        error=ErrorFigures(max_abs=1, max_rel=1, budget=2, share=0.5) if passed else None,
        parameters={"SIZE": size},
        variant=Variant(templates=("x",), parameters={"SIZE": size}, index_bits=32),
        text_sha="sha", artifacts=(), seconds=1.5, mkgen_version="0",
    )  # fmt: skip


def test_append_and_read_back(tmp_path):
    made = [record(), record(size=2), record(status=Status.CRASHED, reason="boom")]
    store = RunStore(tmp_path / "run")
    for each in made:
        store.append(each)
    store.close()
    assert RunStore(tmp_path / "run").records() == made


@pytest.mark.parametrize("cut", [1, 50, 10_000])
def test_a_torn_last_line_is_repaired(tmp_path, cut):
    store = RunStore(tmp_path)
    store.append(record())
    store.append(record(size=2))
    whole = store.path.read_bytes()
    second = whole.index(b"\n") + 1
    store.path.write_bytes(whole[: max(second, len(whole) - cut)])
    again = RunStore(tmp_path)
    assert again.records() == [record()]
    assert again.path.read_bytes() == whole[:second]
    again.append(record(size=3))
    assert again.records() == [record(), record(size=3)]


def test_a_line_torn_by_another_process_while_open_does_not_swallow_ours(tmp_path):
    store = RunStore(tmp_path)
    store.append(record())
    with store.path.open("ab") as file:
        file.write(b'{"task": "x' + b"y" * 200_000)
    assert store.records() == [record()]
    store.append(record(size=2))
    assert store.records() == [record(), record(size=2)]


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    store = RunStore(tmp_path)
    store.append(record())
    with store.path.open("ab") as file:
        file.write(b'{"task": 1}\n')
    store.append(record())
    with pytest.raises(UserError, match="line 2 is not a record"):
        store.records()


def test_resume_knows_what_is_finished(tmp_path):
    store = RunStore(tmp_path)
    done, failed = record(), record(size=2, status=Status.WRONG_OUTPUT)
    absent = record(size=3, status=Status.NO_TOOLCHAIN)
    for each in (done, failed, absent):
        store.append(each)

    def finished(each, target=TARGET):
        return store.finished(each.task_hash, target, record_key(each))

    assert finished(done) == done
    assert finished(failed) == failed
    assert finished(absent) is None
    assert finished(done, Target(backend="fake", arch="two")) is None
    assert finished(record(task="other")) is None


def test_junit(tmp_path):
    bad = record(task="b", status=Status.WRONG_OUTPUT, reason="x < y & z\x00\x1b \ud800")
    none = record(task="c", status=Status.NO_TOOLCHAIN, reason="no compiler")
    variants = [record(task="d", size=1), record(task="d", size=2)]
    write_junit(tmp_path / "junit.xml", [record(task="a"), bad, none, *variants])
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    suite = root.find("testsuite")
    counts = [suite.get(k) for k in ("tests", "failures", "errors", "skipped")]
    assert counts == ["5", "1", "1", "0"]
    names = [case.get("name") for case in suite.iter("testcase")]
    assert names == [
        "a -> fake:one", "b -> fake:one", "c -> fake:one",
        "d -> fake:one [x SIZE=1 index=32]", "d -> fake:one [x SIZE=2 index=32]",
    ]  # fmt: skip
    failure = suite.find("testcase/failure")
    assert failure.get("type") == "wrong-output"
    assert failure.get("message") == "x < y & z?? ?"


def test_csv(tmp_path):
    write_csv(tmp_path / "r.csv", [record(), record(task="b", status=Status.CRASHED, reason="a,b")])
    rows = list(csv.DictReader((tmp_path / "r.csv").open()))
    assert [r["status"] for r in rows] == ["pass", "crashed"]
    assert rows[0]["share"] == "0.5"
    assert rows[1]["reason"] == "a,b"
    assert rows[1]["share"] == ""


def test_atomic_write_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "f"
    atomic_write(path, "old")
    umask = os.umask(0o022)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask

    def full(_):
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(os, "fsync", full)
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_headlines():
    assert headline(record(status=Status.CRASHED, reason="boom")).endswith("CRASHED: boom")
    assert headline(record(), "Fake").endswith("PASS (EMULATED): never run on a Fake")
    gfx = record(target=Target(backend="x", arch="gfx942", device="mi300x"))
    assert headline(gfx, "AMD Instinct MI300X").endswith("never run on an AMD Instinct MI300X")

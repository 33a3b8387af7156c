"""`mkgen records`: what is listed, what travels, and what `check` finds."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from cli_support import call
from test_evaluate_store import record

from mkgen.evaluate.store import RunStore, parse
from mkgen.record import Record, Status
from mkgen.target import Target

HIP = Target.parse("hip:gfx942")


def filled(directory: Path) -> list[Record]:
    """Records of another day; of a backend that is installed here, and of one that is not."""
    made = [
        record(task="a", size=1),
        record(task="a", size=2, status=Status.CRASHED, reason="boom"),
        record(task="b", target=HIP).model_copy(update={"origin": "source"}),
    ]
    store = RunStore(directory)
    for each in made:
        store.append(each)
    store.close()
    return made


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return filled(tmp_path / "run")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ((), [0, 1, 2]), (("--task", "a"), [0, 1]), (("--target", "hip:gfx942"), [2]),
        (("--status", "crashed"), [1]), (("--kind", "emulated"), [0, 2]),
        (("--kind", "device"), []), (("--origin", "source", "--task", "b"), [2]),
        (("--origin", "source", "--task", "a"), []),
    ],
)  # fmt: skip
def test_list_filters(capfd, run, filters, expected):
    done = call(capfd, "records", "list", "run", *filters, "--json")
    assert done.code == 0
    assert [d["key"] for d in done.document] == [run[i].key for i in expected]
    told = call(capfd, "records", "list", "run", *filters).err
    assert all((run[i].key[:12] in told) == (i in expected) for i in range(3))
    assert f"{len(expected)} records; 0 of them only reported" in told


def test_what_is_asked_wrongly(capfd, run, tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, told in (
        (("list", "nowhere"), "nowhere holds no records.jsonl"),
        (("list", "run", "--target", "hip"), "backend:arch"),
        (("show", "ffff0000", "--run", "run"), "no record for the key ffff0000"),
        (("show", "", "--run", "run"), "3 records for the key"),
        (("import", "nowhere", "--run", "run"), "nowhere: No such file"),
        (("import", "run"), "there is no run yet"),
        (("import", "run", "--run", "run/records.jsonl"), "cannot be written to"),
        (("export", "run", "--out", "file/below"), "file/below"),
    ):
        done = call(capfd, "records", *arguments)
        assert (done.code, told in done.err) == (2, True), done.err


def test_what_is_exported_and_imported_is_reported(capfd, run, tmp_path):
    lines = call(capfd, "records", "export", "run").out.splitlines()
    assert [parse(line).record for line in lines] == run
    assert call(capfd, "records", "export", "run", "--task", "b", "--out", "b.jsonl").code == 0
    assert call(capfd, "records", "import", "b.jsonl", "--run", "new").code == 0
    shown = call(capfd, "records", "show", run[2].key[:8], "--run", "new")
    assert "b -> hip:gfx942    REPORTED PASS (EMULATED)" in shown.err
    # into a run that has it already nothing is taken, and what was seen stays so
    again = call(capfd, "records", "import", "b.jsonl", "--run", "run", "--json").document
    assert (again["imported"], again["known"]) == ([], 1)
    listed = call(capfd, "records", "list", "run", "--task", "b", "--json").document
    assert [d["standing"] for d in listed] == ["seen"]
    # one bad line, and nothing is imported
    text = (tmp_path / "b.jsonl").read_text()
    (tmp_path / "b.jsonl").write_text(text + text.replace('"emulated"', '"proxy"'))
    done = call(capfd, "records", "import", "b.jsonl", "--run", "third")
    assert (done.code, "line 2: its content is not what was sealed" in done.err) == (2, True)
    assert not (tmp_path / "third").exists()


def test_check(capfd, run, tmp_path):
    done = call(capfd, "records", "check", "run", "--json")
    assert (done.code, done.document["records"], done.document["faults"]) == (0, 3, [])
    path = tmp_path / "run/records.jsonl"
    whole = path.read_bytes()
    first = json.loads(whole.splitlines()[0])
    path.write_bytes(whole + whole.splitlines(keepends=True)[0] + b'{"half')
    done = call(capfd, "records", "check", "run")
    assert done.code == 0
    assert "the last line is torn" in done.err
    assert "line 4: says what line 1 says; shown once" in done.err
    assert path.read_bytes().endswith(b'{"half')  # it deletes nothing
    first["target"] = "hip:gfx9999"
    for name in ("sha", "key"):
        del first[name]
    broken = whole.replace(b'"SIZE":2', b'"SIZE":7', 1)
    path.write_bytes(broken + json.dumps(first).encode() + b"\n{}\n")
    done = call(capfd, "records", "check", "run")
    assert done.code == 1
    assert "fault  line 2: its content is not what was sealed" in done.err
    assert "note   line 4: not sealed" in done.err
    assert "fault  line 4: hip has no arch gfx9999 here" in done.err
    assert "fault  line 5: task: Field required" in done.err
    assert call(capfd, "records", "list", "run").code == 2


def test_reading_leaves_a_torn_line_to_its_writer(capfd, run, tmp_path):
    path = tmp_path / "run/records.jsonl"
    torn = path.read_bytes() + b'{"task": "under way'
    path.write_bytes(torn)
    for command in (("records", "list", "run"), ("show", "run"), ("records", "check", "run")):
        assert call(capfd, *command).code == 0
    assert path.read_bytes() == torn


def test_the_index_is_used_and_is_not_needed(capfd, run, tmp_path):
    arguments = ("records", "list", "run", "--task", "a", "--json")
    first = call(capfd, *arguments).document
    index = tmp_path / "run/records.index.sqlite"
    with sqlite3.connect(index) as base:
        assert base.execute("SELECT count(*) FROM lines").fetchone() == (3,)
    base.close()
    index.unlink()
    assert call(capfd, *arguments).document == first


def test_verify_wants_one_record(capfd, run):
    done = call(capfd, "verify", "run")
    assert (done.code, "2 records for anything in run" in done.err) == (2, True), done.err
    done = call(capfd, "verify", "run", "--task", "c")
    assert (done.code, "no record for c in run" in done.err) == (2, True)
    done = call(capfd, "verify", "run", "--key", run[0].key)
    assert (done.code, "does not hold the task's source" in done.err) == (2, True), done.err

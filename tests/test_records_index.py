"""The index of a run: a cache that heals, whatever becomes of it, of the file, or of a writer."""

from __future__ import annotations

import json
import lzma
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_support import environment
from test_evaluate_store import TARGET, record

from mkgen.document import canonical_json
from mkgen.errors import UserError
from mkgen.evaluate.index import SUFFIX
from mkgen.evaluate.seen import Seen
from mkgen.evaluate.store import Run, RunStore, parse, read_lines, record_key
from mkgen.program import PrecisionClass
from mkgen.record import Generation, Record, Status
from mkgen.sealing import SCHEMA_VERSION, seal_of

GENERATION = Generation(
    provider="p", model="m", prompt_sha="1", prompts_version="2", strategy="category", form="native"
)
OLD = Path(__file__).parent.parent / "benchmarks/results/h200_matrix.records.jsonl.xz"


def index_of(directory: Path) -> Path:
    return (directory / "records.jsonl").with_suffix(SUFFIX)


def filled(directory: Path, count: int = 3) -> list[Record]:
    made = [record(size=size) for size in range(count)]
    store = RunStore(directory)
    for each in made:
        store.append(each)
    store.close()
    return made


def sizes(directory: Path) -> list[int]:
    """What a new reader sees through the index; the index and the lines must agree."""
    run = Run(directory / "records.jsonl")
    found = run.selected()
    run.close()
    assert found == run.records()
    return [r.parameters["SIZE"] for r in found]


def test_what_the_index_selects(tmp_path):
    store = RunStore(tmp_path)
    failed = record(task="b", status=Status.CRASHED, reason="boom")
    made = [record(size=1), failed, record(size=2)]
    for each in made:
        store.append(each)
    assert store.selected(task="b") == [failed]
    assert store.selected(status="pass") == [made[0], made[2]]
    store.append(record(size=9))
    assert [r.number for r in store.rows(task="t")] == [1, 3, 4]
    with pytest.raises(KeyError):
        store.rows(**{"task = '' OR 1": "x"})
    store.close()


def test_the_same_thing_twice_is_shown_once(tmp_path):
    store = RunStore(tmp_path)
    first = record(size=1)
    again = first.model_copy(update={"seconds": 99.0})  # the same thing, made by a resumed run
    for each in (first, record(size=2), again):
        store.append(each)
    assert store.records() == store.selected() == [record(size=2), again]
    assert len(store.path.read_bytes().splitlines()) == 3
    store.close()


def test_every_cut_of_the_last_lines(tmp_path):
    """Cut at any byte: what is whole is there once, nothing of a half record is."""
    filled(tmp_path)
    path = tmp_path / "records.jsonl"
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 0x0A]
    run = Run(path)
    for cut in range(len(whole), ends[1] - 2, -1):
        path.write_bytes(whole[:cut])
        expected = sum(end <= cut for end in ends)
        assert [row.number for row in run.rows()] == list(range(1, expected + 1)), cut
    run.close()
    # and a writer that goes on from there
    for cut in random.Random(4).sample(range(ends[0], len(whole)), 9):
        path.write_bytes(whole[:cut])
        store = RunStore(tmp_path)
        store.append(record(size=7))
        store.close()
        assert sizes(tmp_path) == [*range(sum(end <= cut for end in ends)), 7]


def test_it_heals_whatever_becomes_of_it(tmp_path):
    filled(tmp_path)
    assert sizes(tmp_path) == [0, 1, 2]
    index = index_of(tmp_path)
    good = index.read_bytes()
    rng = random.Random(1)
    broken = [b"", b"rubbish" * 1000, good[: len(good) // 2], good[:100], bytes(len(good))]
    for _ in range(40):
        changed = bytearray(good)
        for _ in range(rng.choice((1, 20))):
            changed[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        broken.append(bytes(changed))
    for content in broken:
        index.write_bytes(content)
        assert sizes(tmp_path) == [0, 1, 2]
    index.unlink()
    assert sizes(tmp_path) == [0, 1, 2]
    assert index.exists()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE lines SET status = 'crashed'",
        "DELETE FROM lines WHERE number = 2",
        "UPDATE lines SET start = start + 1 WHERE number = 3",
        "UPDATE covered SET size = size - 10",
        "UPDATE covered SET sha = 'x'",
        "DROP TABLE covered",
        "INSERT INTO lines SELECT start + 1, length, number, key, seal, task, task_hash, target, "
        "precision, candidate, origin, standing, status, kinds, basis, problem FROM lines",
    ],
)
def test_an_edited_index_is_made_again(tmp_path, change):
    filled(tmp_path)
    sizes(tmp_path)
    with sqlite3.connect(index_of(tmp_path)) as base:
        base.execute(change)
    base.close()
    run = Run(tmp_path / "records.jsonl")
    assert [row.status for row in run.rows()] == ["pass"] * 3
    run.close()
    assert sizes(tmp_path) == [0, 1, 2]


def test_another_file_in_its_place(tmp_path):
    filled(tmp_path, 4)
    sizes(tmp_path)
    store = RunStore(tmp_path / "other")
    for size in (7, 8, 9, 10, 11):
        store.append(record(size=size))
    store.close()
    os.replace(tmp_path / "other/records.jsonl", tmp_path / "records.jsonl")
    assert sizes(tmp_path) == [7, 8, 9, 10, 11]
    path = tmp_path / "records.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[1])
    assert sizes(tmp_path) == [8]


def test_where_it_cannot_be_written_it_lives_in_memory(tmp_path):
    filled(tmp_path)
    index_of(tmp_path).mkdir()  # for root, too, no database can be there
    assert sizes(tmp_path) == [0, 1, 2]


def test_a_line_that_changed_meanwhile_is_not_believed(tmp_path):
    filled(tmp_path)
    run = Run(tmp_path / "records.jsonl")
    row = run.rows()[1]
    data = bytearray(run.path.read_bytes())
    at = data.index(b'"SIZE":1', row.start) + 7
    data[at : at + 1] = b"5"
    run.path.write_bytes(data)
    with pytest.raises(UserError, match="line 2 is not a record: its content is not what was"):
        run.record(row)
    run.close()


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_evaluate_store import record
from mkgen.evaluate.store import RunStore
store = RunStore(Path({run!r}))
for size in range(10_000):
    store.append(record(task=sys.argv[1], size=size))
    print(size, flush=True)
    store.rows(task=sys.argv[1], candidate="nothing")
"""


def test_killed_writers_lose_nothing_that_they_have_finished(tmp_path):
    """Two at a time, killed at random; what each said it had stored is there once, in order."""
    rng = random.Random(int(os.environ.get("MKGEN_TEST_SEED", "0")))
    text = WRITER.format(tests=str(Path(__file__).parent), run=str(tmp_path / "run"))
    said: dict[str, int] = {}
    for turn in range(2):
        names = [f"w{turn}a", f"w{turn}b"]
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", text, name], env=environment(tmp_path),
                stdout=subprocess.PIPE, text=True,
            )
            for name in names
        ]  # fmt: skip
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()  # it is under way
        time.sleep(rng.uniform(0.05, 0.4))
        for name, writer in zip(names, writers, strict=True):
            writer.send_signal(signal.SIGKILL)
            assert writer.stdout is not None
            lines = [line for line in writer.stdout.read().split("\n")[:-1] if line]
            writer.wait()
            said[name] = int(lines[-1]) + 1 if lines else 1
    run = Run(tmp_path / "run/records.jsonl")
    for name, count in said.items():
        stored = [r.parameters["SIZE"] for r in run.selected(task=name)]
        # one more may be on the disk than it came to say
        assert stored in (list(range(count)), list(range(count + 1))), name
    assert len(run.selected()) == len(run.records()) == len(run.rows())
    assert all(r.standing == "seen" for r in run.records())
    run.close()


def test_only_what_was_made_here_is_finished(tmp_path):
    elsewhere = RunStore(tmp_path, Seen(tmp_path / "their state"))
    done = record()
    elsewhere.append(done)
    elsewhere.close()
    here = RunStore(tmp_path, Seen(tmp_path / "our state"))
    assert [r.standing for r in here.records()] == ["reported"]
    assert here.finished(done.task_hash, TARGET, record_key(done)) is None
    here.append(done)  # made again, here: that is what is shown
    assert here.records() == [done]
    assert here.finished(done.task_hash, TARGET, record_key(done)) == done
    # what is imported afterwards does not hide it
    here.append(record(size=5).model_copy(update={"standing": "reported"}))
    assert here.latest(done.task_hash, TARGET, done.precision, "template") == done
    assert here.latest(done.task_hash, TARGET, done.precision, "source") is None
    here.close()


def test_a_list_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "state").write_text("a file where a directory should be")
    store = RunStore(tmp_path, Seen(tmp_path / "state"))
    with pytest.raises(UserError, match="MKGEN_STATE"):
        store.append(record())
    assert store.records() == []
    store.close()


def test_records_of_version_1(tmp_path):
    """Real lines of an H200: read, sealed anew, and not believed for what they do not show."""
    lines = lzma.decompress(OLD.read_bytes()).splitlines()
    found = [parse(line).record for line in lines]
    assert {json.loads(line)["schema_version"] for line in lines} == {1}
    assert {r.schema_version for r in found} == {SCHEMA_VERSION}
    assert {r.standing for r in found} == {"reported"}
    wide = next(r for r in found if str(r.target) == "cuda:sm_90a@h200")
    assert [e.ran_on.arch for e in wide.evidence if e.kind.value == "timed"] == ["sm_90a"]
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines[:5]))
    again = RunStore(tmp_path)
    again.append(found[5])
    assert again.records() == found[:6]
    # to say that it was seen here does not make it so
    forged = {**json.loads(lines[6]), "standing": "seen"}
    path.write_text(json.dumps(forged) + "\n")
    assert [r.standing for r in read_lines(path)] == ["reported"]
    again.close()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema_version": 3, "mkgen_version": "9.1"}, "newer than this mkgen, .* use mkgen 9.1"),
        ({"schema_version": 0}, "no schema version"),
        ({"schema_version": "2"}, "no schema version"),
        ({"seconds": 9}, "its content is not what was sealed"),
        ({"key": "0" * 64}, "its key is not the one of its content"),
        ({"task_document": {"name": "other"}}, "the record was changed"),
    ],
)
def test_what_is_not_read(change, told):
    document = {**record().stored(), **change}
    if change.keys() != {"seconds"}:
        document["sha"] = seal_of(document)
    if "task_document" in change:
        del document["key"], document["sha"]
    with pytest.raises(ValueError, match=told):
        parse(canonical_json(document))


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b"null", b"[" * 100_000, b"\xff\xfe", b"1" * 9999]
)
def test_what_is_no_record_is_said_in_one_line(text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse(text)
    assert "\n" not in str(caught.value).removesuffix("\n")


def test_the_key_holds_everything_that_changes_the_meaning():
    """Every field but those that say how long, where or in which words."""
    plain = record()
    seen = plain.evidence[0]
    changes = {
        "task_hash": "other", "target": TARGET.model_copy(update={"arch": "two"}),
        "precision": PrecisionClass.TF32, "status": Status.CRASHED, "parameters": {"SIZE": 3},
        "variant": plain.variant.model_copy(update={"index_bits": 64}), "text_sha": "other",
        "sources": {"k.hip": "1"}, "profile_sha": "p", "origin": "source", "checks": ("controls",),
        "seed": 3, "confinement": "bubblewrap", "basis": "b",
        "evidence": (seen.model_copy(update={"compiler_sha": "1"}),),
    }  # fmt: skip
    keys = {plain.model_copy(update={k: v}).key for k, v in changes.items()}
    assert len(keys | {plain.key}) == len(changes) + 1
    same = {"seconds": 9.0, "reason": "words", "mkgen_version": "8", "estimate_seconds": 1.0,
            "files": ("a",), "standing": "reported", "error": None, "results": (),
            "generation": GENERATION}  # fmt: skip
    assert {plain.model_copy(update={k: v}).key for k, v in same.items()} == {plain.key}
    # a secret seed is drawn anew for each record of a foreign text
    foreign = plain.model_copy(update={"origin": "source", "seed": 1})
    assert foreign.key == foreign.model_copy(update={"seed": 2}).key
    left = Record.model_fields.keys() - changes.keys() - same.keys()
    assert left == {
        "schema_version", "task", "artifacts", "estimate_reason", "parameter_source",
        "task_document",
    }  # fmt: skip

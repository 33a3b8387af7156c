"""`mkgen tune`: what is measured, in what order, what is kept, and who uses it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from cli_support import call, spawn
from tune_support import DEVICE, ONE_KERNEL, TWO_KERNELS, install, seconds_of

from mkgen.codegen.candidate import Generator
from mkgen.codegen.registry import backend_named
from mkgen.record import Record
from mkgen.target import Target
from mkgen.task import find_task
from mkgen.tune.winners import Winners, computation_hash, workload_class

TARGET = "tunable:gfx942"


@pytest.fixture
def data(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch)
    work = tmp_path / "work"
    work.mkdir()
    (work / "positive.py").write_text(ONE_KERNEL)
    monkeypatch.chdir(work)
    return tmp_path


def tune(capfd, *arguments: str, code: int = 0, task: str = "positive.py"):
    done = call(capfd, "tune", "--task", task, "--target", TARGET, "--json", *arguments)
    assert done.code == code, done.err
    return done.document


def order(document) -> list[tuple[str, int]]:
    return [(t["variant"], t["samples"]) for t in document["trials"]]


def timings(data: Path) -> Counter:
    return Counter((data / "cache" / "timings").read_text().splitlines())


def test_the_best_of_all_is_found_and_measured_most(capfd, data):
    document = tune(capfd, "--trials", "100")
    winner = document["winner"]
    everything = {json.dumps(t["parameters"]): seconds_of(t["parameters"])
                  for t in document["trials"]}  # fmt: skip
    assert len(everything) == document["legal"] == winner["trials"] == 12
    assert winner["seconds"] == min(everything.values())
    assert winner["samples"] == 21
    assert winner["device"] == DEVICE
    assert winner["target"] == "tunable:gfx942@mi300x"
    counts = Counter(t["samples"] for t in document["trials"])
    assert counts == {3: 12, 7: 4, 21: 3}
    assert document["complete"] and not document["known"]
    assert all(t["checked"] == "check1" for t in document["trials"])


def test_few_trials_are_guided_and_the_seed_decides(capfd, data):
    first = tune(capfd, "--trials", "8", "--out", "a")
    again = tune(capfd, "--trials", "8", "--out", "b")
    other = tune(capfd, "--trials", "8", "--out", "c", "--seed", "1")
    assert order(first) == order(again) != order(other)
    assert len({v for v, _ in order(first)}) == 8
    # what comes first is the model's, whatever the seed
    assert order(first)[:4] == order(other)[:4]
    estimates = [t["estimate_seconds"] for t in first["trials"][:4]]
    assert estimates == sorted(estimates)


def test_a_second_command_measures_nothing_twice_and_goes_on(capfd, data):
    first = tune(capfd, "--trials", "6")
    before = timings(data)
    again = tune(capfd, "--trials", "6")
    assert timings(data) == before
    assert order(again) == order(first)
    assert again["known"] == len(again["trials"])
    assert again["winner"] == first["winner"]
    more = tune(capfd, "--trials", "12")
    assert len({v for v, _ in order(more)}) == 12
    assert max(timings(data).values()) == 1


def test_a_search_that_is_killed_goes_on_as_if_it_had_not_been(capfd, data, monkeypatch):
    undisturbed = tune(capfd, "--trials", "9", "--out", "undisturbed")
    (data / "cache" / "timings").unlink()
    monkeypatch.setenv("MKGEN_FAKE_SLEEP", "0.3")
    arguments = ["tune", "--task", "positive.py", "--target", TARGET, "--trials", "9"]
    journal = data / "work" / "killed" / "trials.jsonl"
    for lines in (2, 5):
        process = spawn(data / "work", *arguments, "--out", "killed")
        deadline = time.monotonic() + 60
        while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
            assert time.monotonic() < deadline and process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()
    assert not (journal.parent / "winners").exists()
    stored = journal.read_bytes().count(b"\n")
    assert 5 <= stored < len(undisturbed["trials"])
    with journal.open("ab") as file:
        file.write(b'{"torn": ')
    monkeypatch.setenv("MKGEN_FAKE_SLEEP", "0.002")
    resumed = tune(capfd, "--trials", "9", "--out", "killed")
    assert resumed["known"] == stored
    assert order(resumed) == order(undisturbed)
    assert resumed["winner"]["parameters"] == undisturbed["winner"]["parameters"]
    # only what was under way when the process died was timed again
    assert sum(timings(data).values()) <= len(order(resumed)) + 2


def test_the_budget_ends_the_search_and_the_best_until_then_counts(capfd, data, monkeypatch):
    # importing PyTorch would spend the budget
    one = tune(capfd, "--trials", "1", "--out", "warm")
    assert len({t["variant"] for t in one["trials"]}) == 1
    monkeypatch.setenv("MKGEN_FAKE_SLEEP", "1.2")
    started = time.monotonic()
    document = tune(capfd, "--budget", "16")
    assert time.monotonic() - started < 22
    measured = document["trials"]
    assert 1 <= len({t["variant"] for t in measured}) < 12
    assert document["winner"]["seconds"] <= min(seconds_of(t["parameters"]) for t in measured)
    # no later than three quarters of the budget the best are measured again
    assert max(t["samples"] for t in measured) > 3


def test_a_budget_that_is_too_small_keeps_nothing(capfd, data, monkeypatch):
    monkeypatch.setenv("MKGEN_FAKE_SLEEP", "30")
    document = tune(capfd, "--budget", "0.5", code=1)
    assert document["winner"] is None
    assert document["trials"] == []
    assert not document["complete"]
    assert not (data / "data" / "winners").exists()


def test_wrong_and_refused_candidates_are_recorded_and_never_win(capfd, data, monkeypatch):
    best = tune(capfd, "--trials", "100", "--out", "all")["winner"]["parameters"]
    text = " ".join(f"{k}={v}" for k, v in sorted(best.items()))
    monkeypatch.setenv("MKGEN_FAKE_WRONG", text)
    monkeypatch.setenv("MKGEN_FAKE_REFUSED", "ITEMS=8")
    monkeypatch.setenv("MKGEN_FAKE_TOOLCHAIN", "fakec 1.1")
    document = tune(capfd, "--trials", "100")
    by_status = Counter(t["status"] for t in document["trials"] if t["samples"] == 3)
    refused = 0 if best["ITEMS"] == 8 else 1
    assert by_status == {"wrong-output": refused, "compile-failed": 3, "pass": 9 - refused} or (
        refused == 0 and by_status == {"compile-failed": 3, "pass": 9}
    )
    wrong = [t for t in document["trials"] if t["status"] == "wrong-output"]
    assert [t["seconds"] for t in wrong] == [[]]
    assert "check1 on numpy-device" in wrong[0]["reason"]
    assert document["winner"]["parameters"] != best


def test_gen_and_eval_use_the_winner_and_say_so(capfd, data, monkeypatch):
    before = call(capfd, "gen", "--task", "positive.py", "--target", TARGET, "--json")
    assert before.document["parameter_source"]["kind"] == "model"
    assert "a model chose them from 12 legal sets" in before.err
    winner = tune(capfd, "--trials", "100")["winner"]
    assert before.document["parameters"] != winner["parameters"]

    done = call(capfd, "gen", "--task", "positive.py", "--target", TARGET, "--json")
    made = done.document
    assert made["parameters"] == winner["parameters"]
    assert made["parameter_source"]["kind"] == "tuned", made["parameter_source"]
    assert made["parameter_source"]["seconds"] == winner["seconds"]
    assert f"tuned on {DEVICE} (" in done.err and "21 samples)" in done.err
    package = data / "work" / "positive-tunable-gfx942"
    readme = (package / "README.md").read_text()
    assert f"parameters: tuned on {DEVICE} (" in readme
    record = Record.model_validate_json((package / "record.json").read_text())
    assert record.parameter_source.kind == "tuned"
    files = {p.name: p.read_bytes() for p in package.rglob("*") if p.is_file()}
    assert winner["measured"].encode() not in b"".join(files.values())
    assert call(capfd, "gen", "--task", "positive.py", "--target", TARGET).code == 0
    assert files == {p.name: p.read_bytes() for p in package.rglob("*") if p.is_file()}

    run = call(capfd, "eval", "--task", "positive.py", "--target", TARGET, "--out", "run", "--json")
    assert run.document[0]["parameters"] == winner["parameters"]

    near = call(capfd, "gen", "--task", "positive.py", "--target", TARGET, "--json",
                "--shape", "x=300,400", "--out", "near")  # fmt: skip
    assert near.document["parameter_source"]["sizes"] == winner["sizes"]
    far = call(capfd, "gen", "--task", "positive.py", "--target", TARGET, "--json",
               "--shape", "x=64,300", "--out", "far")  # fmt: skip
    assert far.document["parameter_source"]["kind"] == "model"

    monkeypatch.setenv("MKGEN_FAKE_TOOLCHAIN", "fakec 1.1")
    stale = call(capfd, "gen", "--task", "positive.py", "--target", TARGET, "--json")
    assert stale.document["parameters"] == winner["parameters"]
    assert stale.document["parameter_source"]["kind"] == "stale"
    assert "with another toolchain (stale), used as a start" in stale.err
    again = tune(capfd, "--trials", "3")
    assert again["trials"][0]["parameters"] == winner["parameters"]
    assert again["known"] == 0


def test_a_winner_that_fails_gives_way_to_the_model(capfd, data, monkeypatch):
    winner = tune(capfd, "--trials", "100")["winner"]
    monkeypatch.setenv(
        "MKGEN_FAKE_WRONG", " ".join(f"{k}={v}" for k, v in sorted(winner["parameters"].items()))
    )
    done = call(capfd, "gen", "--task", "positive.py", "--target", TARGET, "--device", "--json")
    assert done.code == 0, done.err
    assert done.document["tried"] == ["wrong-output", "pass"]
    assert done.document["parameter_source"]["kind"] == "model"
    assert "not taken" in done.err


def test_kernels_are_tuned_one_at_a_time(capfd, data):
    (data / "work" / "scores.py").write_text(TWO_KERNELS)
    document = tune(capfd, "--trials", "30", task="scores.py")
    winner = document["winner"]
    assert winner["templates"] == ["c/contraction", "c/rowwise"]
    assert len({t["variant"] for t in document["trials"]}) <= 30
    changed = [
        {k for k in a["parameters"] if a["parameters"][k] != b["parameters"][k]}
        for a, b in zip(document["trials"], document["trials"][1:], strict=False)
    ]
    prefixes = [{k.partition("_")[0] for k in c} for c in changed]
    assert {len(p) for p in prefixes} <= {0, 1, 2}
    assert sum(len(p) == 2 for p in prefixes) <= 1  # only where the search turns to the other
    assert winner["seconds"] == min(seconds_of(t["parameters"]) for t in document["trials"])


def test_the_device_must_be_there_and_be_the_one(capfd, data, monkeypatch):
    monkeypatch.setenv("MKGEN_FAKE_DEVICE", "AMD Instinct MI250X")
    done = call(capfd, "tune", "--task", "positive.py", "--target", TARGET)
    assert done.code == 2
    assert "the device here is AMD Instinct MI250X" in done.err
    monkeypatch.setenv("MKGEN_FAKE_ABSENT", "1")
    done = call(capfd, "tune", "--task", "positive.py", "--target", TARGET)
    assert done.code == 3
    assert "the fake GPU is unplugged" in done.err


def test_winners_ship_and_are_a_start_for_another_toolchain(tmp_path):
    target = Target.parse("triton:sm_90@h200")
    made = Generator(find_task("softmax"), backend_named("triton"), target)
    found = Winners(tmp_path).find(made, "another compiler")
    assert found is not None and found.source.device == "NVIDIA H200"
    # they were tuned with the templates of their day, which later ones may have left behind
    assert found.source.kind == "stale" and "another toolchain" in found.source.reason
    assert found.candidate.request.parameters == found.winner.parameters


def test_a_broken_winners_file_is_named(capfd, data):
    place = data / "data" / "winners"
    place.mkdir(parents=True)
    (place / "mi300x.json").write_text('{"winners": [{"task": 1}]}')
    for command in (["gen", "--task", "positive.py"], ["eval", "--task", "positive.py"]):
        done = call(capfd, *command, "--target", TARGET)
        assert done.code == 2
        assert "mi300x.json cannot be read" in done.err


def test_explain_shows_estimates_and_why_others_lose(capfd, data):
    done = call(capfd, "gen", "--task", "positive.py", "--target", TARGET, "--explain", "--json")
    rows = done.document["explain"]
    assert len(rows) == 10
    assert [r["model_seconds"] for r in rows] == sorted(r["model_seconds"] for r in rows)
    assert "the model's estimates, not measured" in done.err
    assert "2 more: " in done.err
    done = call(
        capfd, "tune", "--task", "positive.py", "--target", TARGET, "--trials", "2", "--explain"
    )
    assert "against the best" in done.err


def test_classes_and_computations():
    sizes = {"ROWS": 4096, "COLS": 5000, "K": 16, "N": 17}
    assert workload_class(sizes) == "COLS=2^12 K=16 N=2^4 ROWS=2^12"
    assert workload_class({"ROWS": 4095}) != workload_class({"ROWS": 4096})
    task = find_task("relu")
    larger = task.model_copy(update={"bench": {"ROWS": 1, "COLS": 1}})
    assert larger.hash != task.hash
    assert computation_hash(larger) == computation_hash(task)
    other = task.model_copy(update={"source": task.source + "# changed"})
    assert computation_hash(other) != computation_hash(task)

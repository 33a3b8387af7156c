"""`mkgen eval`: every record at once on the disk, whatever ends the command."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cli_support import call, install_plugins, spawn

from mkgen.record import Record


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MKGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


FOUR = ("--task", "relu", "--task", "sum_reduce", "--task", "softmax", "--task", "argmax")


def lines(run: Path) -> list[bytes]:
    path = run / "records.jsonl"
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def wait_for_a_record(process, run: Path) -> None:
    deadline = time.monotonic() + 120
    while not lines(run):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_records_reports_and_resume(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    install_plugins(tmp_path, monkeypatch)
    (tmp_path / "odd.py").write_text(
        "import torch\nfrom mkgen.task import Task, Tensor\n"
        "def odd(x):\n    return torch.fft.fft(x).real\n"
        'task = Task(name="odd", category="math", reference=odd, inputs={"x": Tensor("N")},\n'
        '    bench={"N": 8}, check=[{"N": 3}], heldout=[{"N": 5}])\n'
    )
    arguments = [
        "eval", "--task", "rel*", "--task", "odd.py", "--backend", "opencl", "--backend",
        "toolless", "--out", "run", "--junit", "j.xml", "--csv", "r.csv", "-j", "2", "--json",
    ]  # fmt: skip
    done = call(capfd, *arguments)
    found = {(r["task"], r["target"]): r for r in done.document}
    assert {k: r["status"] for k, r in found.items()} == {
        ("relu", "opencl:cpu"): "pass",
        ("relu", "toolless:gfx942"): "no-toolchain",
        ("odd", "opencl:cpu"): "unsupported",
        ("odd", "toolless:gfx942"): "unsupported",
    }
    assert done.code == 2  # wrong input outranks what is missing
    assert "odd.py, line 4" in found["odd", "opencl:cpu"]["reason"]
    assert "apt install toolless" in done.err
    assert len(lines(tmp_path / "run")) == 4
    suite = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert [suite.get(k) for k in ("tests", "errors", "failures", "skipped")] == list("4300")
    assert len(list(csv.DictReader((tmp_path / "r.csv").open()))) == 4

    again = call(capfd, *arguments, "--resume")
    assert again.code == 2
    assert len(again.document) == 4
    assert "3 are finished already, 1 to do" in again.err  # a toolchain may have come meanwhile
    assert len(lines(tmp_path / "run")) == 5
    shown = call(capfd, "show", "run", "--json")
    assert len(shown.document) == 4  # what is said twice is shown once
    assert "toolless:gfx942" in call(capfd, "show", "run").err


def test_a_run_of_its_own_that_latest_points_to(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert call(capfd, "eval", "--task", "relu", "--target", "opencl:cpu").code == 0
        time.sleep(1.1)  # runs are named by the second
    assert len(lines(tmp_path / "runs/latest")) == 1
    assert len(list((tmp_path / "runs").iterdir())) == 3
    done = call(capfd, "eval", "--task", "relu", "--target", "opencl:cpu", "--resume", "--json")
    assert (done.code, len(done.document)) == (0, 1)
    assert len(lines(tmp_path / "runs/latest")) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_what_is_finished(tmp_path, number):
    process = spawn(tmp_path, "eval", *FOUR, "--backend", "opencl", "--out", "run", "--json")
    wait_for_a_record(process, tmp_path / "run")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert json.loads(out)["failure"]["exit_code"] == 130
    kept = [Record.model_validate_json(line) for line in lines(tmp_path / "run")]
    assert 1 <= len(kept) < 4
    assert {r.status.value for r in kept} == {"pass"}  # no killed worker was taken for a failure
    assert os.listdir(tmp_path / "scratch") == []
    assert os.listdir(tmp_path / "run") == ["records.jsonl"]


def test_kill_9_keeps_what_is_finished_and_resume_does_the_rest(tmp_path):
    process = spawn(tmp_path, "eval", *FOUR, "--backend", "opencl", "--out", "run")
    wait_for_a_record(process, tmp_path / "run")
    process.kill()
    process.communicate(timeout=60)
    kept = [line for line in lines(tmp_path / "run") if line.endswith(b"\n")]
    assert 1 <= len(kept) < 4
    deadline = time.monotonic() + 20
    while os.listdir(tmp_path / "scratch"):  # the guard outlives the command, and cleans up
        assert time.monotonic() < deadline, os.listdir(tmp_path / "scratch")
        time.sleep(0.05)
    assert os.listdir(tmp_path / "run") == ["records.jsonl"]
    arguments = ("eval", *FOUR, "--backend", "opencl", "--out", "run", "--resume", "--json")
    process = spawn(tmp_path, *arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert [r["status"] for r in json.loads(out)] == ["pass"] * 4
    assert lines(tmp_path / "run")[: len(kept)] == kept
    assert len(lines(tmp_path / "run")) == 4

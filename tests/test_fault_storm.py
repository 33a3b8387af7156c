"""A run whose candidates crash, hang and grow, and whose parent is killed again and again."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import storm_support
from evaluate_support import install

from mkgen.evaluate.confine import layers


def storm(tmp_path: Path, count: int, kills: int) -> None:
    """`count` candidates and `kills` of the parent; everything is there once, and nothing left."""
    run, plugin, temporary = (tmp_path / name for name in ("run", "plugin", "temporary"))
    for directory in (run, plugin, temporary):
        directory.mkdir()
    install(plugin)
    here = Path(__file__).parent
    mark = f"MKGEN_STORM={os.getpid()}-{time.monotonic_ns()}"
    path = [str(here.parent), str(here), str(plugin), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in path if p),
        "TMPDIR": str(temporary),
        "MKGEN_CACHE": str(tmp_path / "cache"),
        "MKGEN_CONFINEMENT": layers.confinement().name,
        mark.partition("=")[0]: mark.partition("=")[2],
    }
    command = [sys.executable, str(here / "storm_support.py"), str(run), str(count)]
    mounts = Path("/proc/self/mountinfo").read_text()
    started = time.monotonic()
    for number in range(1, kills + 1):
        with subprocess.Popen(command, env=environment) as parent:
            wanted = number * count // (kills + 1)
            while len(stored(run)) < wanted and parent.poll() is None:
                time.sleep(0.05)
            assert parent.poll() is None, "it ended before it could be killed"
            parent.kill()
    subprocess.run(command, env=environment, check=True)
    seconds = time.monotonic() - started
    found = stored(run)
    tasks = Counter(record["task"] for record in found)
    assert sorted(tasks) == sorted(f"double{number}" for number in range(count))
    assert set(tasks.values()) == {1}, "a finished result is there once"
    for record in found:
        number = int(record["task"].removeprefix("double"))
        wanted = storm_support.FAULTS.get(storm_support.behaviour(number), "pass")
        assert record["status"] == wanted, (storm_support.behaviour(number), record["reason"])
    deadline = time.monotonic() + 20  # the guards of killed parents may be at work still
    while (left := marked(mark) + list(temporary.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    assert Path("/proc/self/mountinfo").read_text() == mounts
    ends = Counter(record["status"] for record in found)
    print(f"{count} candidates, {kills} kills, {seconds:.0f} s: {dict(ends)}; nothing left")


def stored(run: Path) -> list[dict]:
    """The records; half a line is none."""
    path = run / "records.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def marked(mark: str) -> list[str]:
    """Processes of the machine that have `mark` in their environment, by their command lines."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in file.read_bytes():
                found.append(file.with_name("cmdline").read_bytes().decode())
    return found


def test_a_small_storm(tmp_path):
    storm(tmp_path, 40, 3)


@pytest.mark.acceptance
@pytest.mark.timeout(4 * 3600)
def test_five_hundred_candidates_and_twenty_kills(tmp_path):
    storm(tmp_path, 500, 20)

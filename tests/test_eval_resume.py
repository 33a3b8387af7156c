"""`mkgen eval` killed again and again, and resumed: the records of an undisturbed run."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from cli_support import spawn

#: What differs from run to run, and where the files of a run happen to lie; the seal is over both.
_VOLATILE = ("seconds", "path", "isa_path", "sha")


def stripped(value: Any) -> Any:
    """`value` without times and places."""
    if isinstance(value, dict):
        # an artifact has a hash, too, which must be the same
        kept = [k for k in value if k not in _VOLATILE or (k == "sha" and "arch" in value)]
        return {k: stripped(value[k]) for k in kept}
    return [stripped(v) for v in value] if isinstance(value, list) else value


def records(run: Path) -> dict[tuple[str, str], Any]:
    """The last record of each pair of task and target; a torn line is left out."""
    path = run / "records.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    found = [json.loads(line) for line in lines]
    return {(r["task"], r["target"]): stripped(r) for r in found}


def junit_names(path: Path) -> list[tuple[str, str]]:
    cases = ElementTree.parse(path).iter("testcase")
    return sorted((c.attrib["classname"], c.attrib["name"]) for c in cases)


def killed_and_resumed(
    tmp_path: Path, selection: tuple[str, ...], unchanged_seconds: float, kills: int
):
    """Checks the whole story for the pairs that `selection` names."""
    cache = {"MKGEN_CACHE": str(tmp_path / "cache")}
    command = ("eval", *selection, "-j", "2")
    whole = spawn(tmp_path, *command, "--out", "whole", "--junit", "whole.xml", **cache)
    out, err = whole.communicate()
    assert "Traceback" not in err
    undisturbed = records(tmp_path / "whole")
    step = max(1, len(undisturbed) // (kills + 1))
    again = {"MKGEN_CACHE": str(tmp_path / "another-cache")}
    resumed = (*command, "--out", "torn", "--resume", "--junit", "torn.xml")
    for number in range(1, kills + 1):
        process = spawn(tmp_path, *resumed, **again)
        while len(records(tmp_path / "torn")) < number * step and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = spawn(tmp_path, *resumed, **again)
    out, err = process.communicate()
    assert "Traceback" not in err
    assert records(tmp_path / "torn") == undisturbed
    assert junit_names(tmp_path / "torn.xml") == junit_names(tmp_path / "whole.xml")
    before = (tmp_path / "torn/records.jsonl").read_bytes()
    started = time.monotonic()
    process = spawn(tmp_path, *resumed, "--baseline", "whole", **again)
    out, err = process.communicate()
    seconds = time.monotonic() - started
    assert (tmp_path / "torn/records.jsonl").read_bytes() == before, "nothing was made again"
    assert "nothing differs from whole" in err
    assert seconds < unchanged_seconds
    print(f"{len(undisturbed)} records; unchanged: {seconds:.1f} s")


def test_a_few_records_survive_three_kills(tmp_path):
    selection = ("--task", "relu", "--task", "sum_reduce")
    backends = ("--backend", "hip", "--backend", "cuda")
    killed_and_resumed(tmp_path, (*selection, *backends), 120, kills=3)


@pytest.mark.acceptance
@pytest.mark.timeout(4 * 3600)
def test_everything_survives_five_kills(tmp_path):
    seconds = float(os.environ.get("MKGEN_UNCHANGED", "120"))
    killed_and_resumed(tmp_path, ("--all",), seconds, kills=5)


def test_another_compiler_or_seed_makes_the_records_again(tmp_path):
    command = ("eval", "--task", "relu", "--backend", "hip", "--out", "run", "--resume")
    cache = {"MKGEN_CACHE": str(tmp_path / "cache")}
    path = tmp_path / "run/records.jsonl"

    def count(*extra: str) -> int:
        process = spawn(tmp_path, *command, *extra, **cache)
        _, err = process.communicate()
        assert process.returncode == 0, err
        return len(path.read_bytes().splitlines())

    assert [count(), count(), count("--seed", "1"), count("--seed", "1")] == [1, 1, 2, 2]
    from compiler_wrappers import clang, script

    compiler = clang(tmp_path / "own")
    option = ("--seed", "1", "--toolchain", f"hip={compiler}")
    assert [count(*option), count(*option)] == [3, 3]
    script(compiler, "# build 2\n" + compiler.read_text().partition("\n")[2])
    assert count(*option) == 4

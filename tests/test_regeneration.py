"""The same sources, byte for byte, whatever the hash seed of the process and the order of work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.matrix_support import BACKENDS, TASKS

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ("conv2d_bias_relu", "softmax", "argmax")

#: Prints {backend: {task: {file: SHA-256}}}; the whole text counts, head comment included.
PROGRAM = """
import hashlib, json, sys
from mkgen.errors import UnsupportedError
from tests.matrix_support import best_by_estimate, default_target, generator

backends, tasks = json.loads(sys.argv[1])
found = {}
for backend in backends:
    for task in tasks:
        made = generator(task, default_target(backend))
        try:
            program = best_by_estimate(made).program(made.workload)
            files = {s.name: hashlib.sha256(s.text.encode()).hexdigest() for s in program.sources}
            files["program"] = hashlib.sha256(program.canonical_json().encode()).hexdigest()
        except UnsupportedError as error:
            files = {"refused": str(error)}
        found.setdefault(backend, {})[task] = files
print(json.dumps(found, sort_keys=True))
"""


def sources(backends: tuple[str, ...], tasks: tuple[str, ...], seed: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([backends, tasks])],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT}:{ROOT / 'backends'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict = json.loads(done.stdout.splitlines()[-1])
    return found


def check(tasks: tuple[str, ...]) -> None:
    one = sources(BACKENDS, tasks, "1")
    # the other way round, so that what one task leaves in memory meets other tasks
    two = sources(BACKENDS[::-1], tasks[::-1], "20261121")
    differing = [
        f"{backend} {task}"
        for backend in BACKENDS
        for task in tasks
        if one[backend][task] != two[backend][task]
    ]
    assert not differing
    assert len({json.dumps(one[b]) for b in BACKENDS}) == len(BACKENDS)


def test_some_sources_are_the_same_bytes() -> None:
    check(SAMPLE)


@pytest.mark.acceptance
def test_all_sources_are_the_same_bytes() -> None:
    check(TASKS)

"""Hostile kernels in CUDA, HIP, Triton and Pallas end as they should; see test_adversarial.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from attacks import ATTACKS
from attacks_native import NATIVE, NativeAttack
from attacks_pallas import PALLAS
from defences import LocalWorkers
from table import rows

from mkgen.codegen.candidate import scales
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings, evaluate
from mkgen.record import Record, Status

#: Every size of a text is built anew, so that most take too long for each run of the tests.
QUICK = ("writes-to-its-input",)
EACH = [
    pytest.param(a, id=a.name, marks=() if a.name in QUICK else pytest.mark.acceptance)
    for a in (*NATIVE, *PALLAS)
]


@pytest.fixture(scope="module")
def workers():
    with Workers() as made:
        yield made


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return CompileCache(tmp_path_factory.mktemp("cache"))


def judged(attack: NativeAttack, workers, cache) -> Record:
    settings = Settings(judge=Judge(scales), cache=cache)
    return evaluate(attack.candidate(), workers, settings)


@pytest.mark.parametrize("attack", EACH)
def test_it_ends_as_it_should_and_only_its_defence_stops_it(
    workers, cache, monkeypatch, attack: NativeAttack
):
    with attack.surroundings():
        record = judged(attack, workers, cache)
    assert record.status is attack.status, record.reason
    assert re.search(attack.reason, record.reason), record.reason
    with attack.surroundings(), attack.off():
        if attack.local:
            environment = attack.candidate().backend.environment("emulate")
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            with LocalWorkers() as local:
                fooled = judged(attack, local, cache)
        else:
            fooled = judged(attack, workers, cache)
    assert fooled.status is Status.PASS, fooled.reason


def test_the_table_of_programs_is_the_programs():
    names = [a.name for a in (*ATTACKS, *NATIVE, *PALLAS)]
    assert len(names) == len(set(names))
    told = (Path(__file__).parent / "README.md").read_text()
    # python tests/adversarial/table.py prints them
    assert [line for line in told.splitlines() if line.startswith("| `")] == rows()

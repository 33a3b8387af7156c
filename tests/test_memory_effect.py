"""benchmarks/memory_effect.py on two runs with answers that are known."""

from __future__ import annotations

import importlib.util

import pytest
from cli_support import ROOT
from test_llm_dataset import generated, run_of

from mkgen.record import Status

SPEC = importlib.util.spec_from_file_location("memory_effect", ROOT / "benchmarks/memory_effect.py")
memory_effect = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(memory_effect)


def test_first_answers_are_counted_and_compared(tmp_path):
    def answers(directory, passing):
        made = []
        for sample in range(4):
            status = Status.PASS if sample < passing else Status.NO_KERNEL
            made.append(generated(f"answer {sample}", status=status, sample=sample, number=sample))
        later = made[-1].generation.model_copy(update={"round": 1})
        made.append(made[0].model_copy(update={"generation": later}))  # it had feedback
        run_of(directory, made)

    answers(tmp_path / "without", 1)
    answers(tmp_path / "with", 3)
    (without, plain), (noted, prompts) = (
        memory_effect.counts(tmp_path / name) for name in ("without", "with")
    )
    assert without == {("row_sum", "opencl:cpu"): (4, 1)}
    assert noted == {("row_sum", "opencl:cpu"): (4, 3)}
    assert plain == prompts
    found = memory_effect.compare(without, noted)
    assert (found["without"], found["with"], found["difference"]) == (0.25, 0.75, 0.5)
    assert (found["questions"], found["better"], found["worse"]) == (1, 1, 0)
    assert memory_effect.compare(without, {})["difference"] is None
    more = {("a", "t"): (2, 1), ("b", "t"): (2, 2)}
    less = {("a", "t"): (2, 1), ("b", "t"): (2, 0)}
    assert memory_effect.compare(less, more)["standard_error"] == pytest.approx(0.5)

"""What the choice of parameters compiles: only what may change the order of the candidates."""

from __future__ import annotations

from typing import cast

import pytest
from tune_support import ONE_KERNEL

from mkgen.codegen.candidate import Generator
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.program import Artifact, Program, Resources
from mkgen.record import Status
from mkgen.task import Task, load_task
from mkgen.tune import choose as choosing
from mkgen.tune.choose import choose, rank
from mkgen.tune.model import estimate
from tests.matrix_support import generator

#: No worker is asked: what compiles is put in its place.
NOBODY = cast(Workers, None)


@pytest.fixture
def task(tmp_path) -> Task:
    file = tmp_path / "positive.py"
    file.write_text(ONE_KERNEL)
    return load_task(file)


class Compiler:
    """Says `registers` of every kernel and refuses the first `refused` texts."""

    def __init__(self, registers: int | None, refused: int = 0) -> None:
        self.registers, self.refused = registers, refused
        self.compiled: list[str] = []

    def __call__(self, workers, backend, program: Program, cache, timeout) -> Artifact:
        assert program.variant is not None
        self.compiled.append(program.variant.key)
        if len(self.compiled) <= self.refused:
            raise WorkerFailure(Status.COMPILE_FAILED, "refused", "")
        return Artifact(
            arch=program.target.arch, format="hsaco", path="", sha="0" * 64,
            resources={e.entry: Resources(registers=self.registers) for e in program.launches},
            compiler="none", compiler_sha="0" * 64, command="", checked="", seconds=0.0,
        )  # fmt: skip


def chosen(monkeypatch, made: Generator, compiler: Compiler) -> list[dict]:
    monkeypatch.setattr(choosing, "compile_program", compiler)
    choices, legal = choose(made, NOBODY, None)
    assert legal == len(made.options(made.kernels[0]))
    return [dict(c.candidate.request.parameters) for c in choices]


def test_a_compiler_that_counts_registers_is_asked_of_four(monkeypatch, task):
    compiler = Compiler(registers=16)
    assert len(chosen(monkeypatch, generator(task, "hip:gfx942"), compiler)) == 4
    assert len(set(compiler.compiled)) == 4


@pytest.mark.parametrize("refused", [0, 2])
def test_one_that_says_nothing_is_asked_until_it_takes_one(monkeypatch, task, refused):
    made = generator(task, "sycl:pvc")
    compiler = Compiler(registers=None, refused=refused)
    parameters = chosen(monkeypatch, made, compiler)
    assert len(compiler.compiled) == refused + 1
    # the others are still offered, in the model's order, should the first turn out wrong
    expected = [dict(c.candidate.request.parameters) for c in rank(made)]
    assert parameters == expected[refused:4]


def test_shared_memory_counts_before_anything_is_compiled():
    """What a template says of its shared memory bounds occupancy as a compiler's word does."""
    made = generator("matmul", "hip:gfx942")
    candidate = next(
        c for c in made.candidates()
        if c.request.parameters["TILE_K"] == 32 and c.request.parameters["TILE_M"] == 128
        and c.request.parameters["ITEM_M"] == c.request.parameters["ITEM_N"] == 8
    )  # fmt: skip
    guess = estimate(made, candidate, candidate.program(made.workload))
    assert "by shared memory" in guess.reason

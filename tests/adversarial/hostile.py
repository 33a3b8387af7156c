"""A backend whose kernels are Python: what a hostile text can do in a child, without a toolchain.

A text defines `kernel(x, …, y)`, which writes its outputs into the arrays it is given, at the same
addresses in every run. It may also return arrays by name instead.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from evaluate_support import FakeBackend, FakeExecutor

from mkgen.codegen.backend import Arrays, Backend, Executor, Loaded
from mkgen.errors import InputChangedError
from mkgen.evaluate.arrays import DTYPES
from mkgen.evaluate.inputs import reference_call
from mkgen.program import (
    Artifact,
    Buffer,
    BufferRole,
    Launch,
    PrecisionClass,
    Program,
    Simt,
    Source,
    Variant,
)
from mkgen.target import Target
from mkgen.task import Task, Tensor, Workload


class HostileLoaded(Loaded):
    """A text that was read, and the arrays its kernel gets."""

    settle = 0.0
    """Seconds between the end of the kernel and the reading of its outputs: a careless harness's,
    where it is not 0."""

    compares_inputs = True
    latest: HostileLoaded
    """The last that was loaded, for an evaluator that looks at its arrays."""

    def __init__(self, program: Program) -> None:
        HostileLoaded.latest = self
        self.program = program
        self.space: dict = {"np": np}
        exec(compile(program.sources[0].text, "kernel.py", "exec"), self.space)
        self.kept = {b.name: np.empty(b.shape, DTYPES[b.dtype]) for b in program.buffers}

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        outputs = {b.name for b in self.program.with_role(BufferRole.OUTPUT)}
        for name, array in self.kept.items():
            array[...] = np.nan if name in outputs else inputs[name]
        returned = self.space["kernel"](*self.kept.values())
        time.sleep(self.settle)
        for name, array in inputs.items():
            if self.compares_inputs and array.tobytes() != self.kept[name].tobytes():
                raise InputChangedError(f"the kernel changed its input {name!r}")
        if returned is not None:
            return returned
        return {name: self.kept[name].copy() for name in outputs}


class HostileExecutor(FakeExecutor):
    """Runs the text."""

    name = "hostile-python"
    schedules = ("first", "second")

    def reads(self, program: Program) -> bool:
        return True

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        return HostileLoaded(program)


class HostileBackend(FakeBackend):
    """Compiles by writing the text down."""

    name = "hostile"
    title = "Hostile"
    dialect = "hostile"

    def executors(self) -> tuple[Executor, ...]:
        return (HostileExecutor(),)


def twice(x):  # type: ignore[no-untyped-def]
    return x * 2


def make_task(reference=twice, name: str = "double", m: int = 24, **tensor: object) -> Task:
    """A task with one input of N x M, which `reference` keeps the shape of."""
    return Task(
        name=name,
        category="math",
        reference=reference,
        inputs={"x": Tensor("N, M", **tensor)},
        bench={"N": 4096, "M": m},
        check=({"N": 33, "M": m}, {"N": 34, "M": m + 1}),
        heldout=({"N": 35, "M": m + 2}, {"N": 37, "M": m + 3}),
        source=name,
    )


@dataclass
class HostileCandidate:
    """What a stranger sent."""

    text: str
    task: Task = field(default_factory=make_task)
    origin: str = "source"
    target: Target = Target(backend="hostile", arch="one")
    precision: PrecisionClass = PrecisionClass.STRICT
    backend: Backend = field(default_factory=HostileBackend)

    def program(self, workload: Workload) -> Program:
        shapes = {name: tensor.resolve(workload.sizes) for name, tensor in self.task.inputs.items()}
        sizes = "".join(f"{k} = {v}\n" for k, v in workload.sizes.items())
        buffers = [
            Buffer(name=k, dtype=self.task.inputs[k].dtype, shape=s, role=BufferRole.INPUT)
            for k, s in shapes.items()
        ]
        buffers += [
            Buffer(name=name, dtype=array.dtype.name, shape=array.shape, role=BufferRole.STATE)
            for name, array in reference_call(self.task, workload.sizes).parameters.items()
        ]
        y = Buffer(name="y", dtype="float32", shape=shapes["x"], role=BufferRole.OUTPUT)
        return Program(
            task=self.task.name,
            task_hash=self.task.hash,
            workload=workload.name,
            target=self.target,
            sources=(Source(name="k.py", language="python", head="", sizes=sizes, body=self.text),),
            buffers=(*buffers, y),
            steps=(
                Launch(
                    source="k.py",
                    entry="kernel",
                    args=tuple(b.name for b in (*buffers, y)),
                    reads=tuple(b.name for b in buffers),
                    writes=("y",),
                    configuration=Simt(grid=(4, 1, 1), block=(256, 1, 1)),
                ),
            ),  # fmt: skip
            variant=Variant(templates=("hostile",), parameters={"behaviour": ""}, index_bits=32),
            launcher="kernel",
            constants=dict(workload.sizes),
        )

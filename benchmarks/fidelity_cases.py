"""Which programs at which sizes benchmarks/fidelity.py judges, the same for a seed on any machine.

They are our own kernels at the tasks' own sizes, our own at shapes drawn at random, and mutants
(tests/mutation), all rendered for the arch of the GPU that runs them: a mutant of a text for
another arch may be no program at all there.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkgen.cli.request import resolve_task
from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.codegen.registry import backend_named
from mkgen.errors import MkgenError, UnsupportedError
from mkgen.program import Program
from mkgen.target import Target
from mkgen.task import Task, Workload, find_task, task_files
from mkgen.tune.choose import rank

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "tests")]

from tests.mutation.mutant import mutants_of  # noqa: E402
from tests.test_own_shapes import DTYPES, RANGES  # noqa: E402

TARGETS = {
    "cuda": "cuda:sm_90a", "hip": "hip:sm_90", "triton": "triton:sm_90", "opencl": "opencl:sm_90",
    "pallas": "pallas:sm_90",
}  # fmt: skip
#: Kinds of mutations that make a race: what the text computes then depends on the hardware.
RACES = {"barrier": "a barrier was removed"}


@dataclass(frozen=True)
class Case:
    """A program at sizes, and where both come from."""

    kind: str
    backend: str
    task: str
    shapes: tuple[str, ...]
    dtype: str | None
    workload: Workload
    program: Program
    told: str = ""
    """Of a mutant: what is wrong with it."""

    @property
    def key(self) -> str:
        """The same for the same kind of text and sizes; the text itself has `Program.text_sha`."""
        sizes = " ".join(f"{k}={v}" for k, v in sorted(self.workload.sizes.items()))
        return f"{self.kind} {self.backend} {self.task} {self.dtype or ''} {sizes} {self.told}"

    @property
    def race(self) -> str:
        """Why it is a race by construction; empty where it is none."""
        return RACES.get(self.told.partition(":")[0], "")

    def resolved(self) -> Task:
        """The task, with the shapes and dtype of this case."""
        if not self.shapes and self.dtype is None:
            return find_task(self.task)
        return resolve_task(self.task, self.shapes, self.dtype)

    def line(self) -> dict[str, Any]:
        """What goes into a file, without the program."""
        return {
            "kind": self.kind, "backend": self.backend, "task": self.task,
            "shapes": self.shapes, "dtype": self.dtype, "told": self.told, "race": self.race,
            "key": self.key, "workload": self.workload.model_dump(mode="json"),
            "text_sha": self.program.text_sha,
        }  # fmt: skip


def read(line: dict[str, Any]) -> Case:
    """The case of a line with a program. ValueError when the text is not the one that is named."""
    case = Case(
        line["kind"], line["backend"], line["task"], tuple(line["shapes"]), line["dtype"],
        Workload.model_validate(line["workload"]), Program.model_validate(line["program"]),
        line["told"],
    )  # fmt: skip
    if case.program.text_sha != line["text_sha"]:
        raise ValueError(f"{case.key}: the text is not the one that was judged without a device")
    return case


@dataclass(frozen=True)
class Selection:
    """How many cases of each kind, for which backends."""

    backends: tuple[str, ...]
    correct: int
    """Sizes of each task."""
    odd: int
    """Random shapes of each task that has ranges of sizes."""
    mutants: int
    """Of each task, the backends in turn, at two sizes each."""
    seed: int
    first: int = 0
    step: int = 1
    """Every `step`-th task from the `first` on, in an order drawn by the seed."""

    def cases(self) -> Iterator[Case]:
        """All cases, task by task, so that a part of them is as mixed as the whole."""
        tasks = sorted(task_files())
        places = list(enumerate(tasks))
        random.Random(self.seed).shuffle(places)
        for place, name in places[self.first :: self.step]:
            yield from _mutants(name, place, self)
            yield from _odd(name, self)
            yield from _correct(name, self)


def _generator(task: Task, backend: str) -> Generator:
    return Generator(task, backend_named(backend), Target.parse(TARGETS[backend]))


def _best(made: Generator) -> TemplateCandidate:
    """The model's first choice, nothing compiled."""
    choice: TemplateCandidate = rank(made)[0].candidate
    return choice


def _small(task: Task) -> Sequence[Workload]:
    """Check and held-out sizes, all run as check sizes are: in every schedule."""
    return [w.model_copy(update={"role": "check"}) for w in task.workloads() if w.role != "bench"]


def _correct(name: str, chosen: Selection) -> Iterator[Case]:
    task = find_task(name)
    for backend in chosen.backends:
        try:
            candidate = _best(_generator(task, backend))
            for workload in _small(task)[: chosen.correct]:
                program = candidate.program(workload)
                yield Case("correct", backend, name, (), None, workload, program)
        except MkgenError as error:
            print(f"{name} {backend}: {error}", file=sys.stderr, flush=True)


def _odd(name: str, chosen: Selection) -> Iterator[Case]:
    if name not in RANGES:
        return
    draw = random.Random(f"{chosen.seed} {name}")
    for number in range(chosen.odd):
        sizes = {n: draw.randint(*ends) for n, ends in RANGES[name].items()}
        dtype = DTYPES[number % len(DTYPES)]
        plain = find_task(name)
        known = plain.bench | sizes
        shapes = tuple(
            f"{n}={','.join(map(str, t.resolve(known)))}" for n, t in plain.inputs.items()
        )
        task = resolve_task(name, shapes, dtype)
        workload = Workload(name="odd", role="check", sizes=known)
        for backend in chosen.backends:
            program = _best(_generator(task, backend)).program(workload)
            yield Case("odd", backend, name, shapes, dtype, workload, program)


def _mutants(name: str, place: int, chosen: Selection) -> Iterator[Case]:
    order = list(TARGETS)
    for turn in range(chosen.mutants):
        backend = order[(place + turn) % len(order)]
        if backend not in chosen.backends:
            continue
        try:
            found = list(mutants_of(backend, name, Target.parse(TARGETS[backend]).arch))
        except UnsupportedError:
            continue
        if not found:
            continue
        mutant = random.Random(f"{chosen.seed} {name} {turn}").choice(found)
        for workload in _small(mutant.task)[:2]:
            program = mutant.program(workload)
            told = mutant.mutation.description
            yield Case("mutant", backend, name, (), None, workload, program, told)

"""Small tasks and one evaluation for tests of files that others wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mkgen.cli.sources import Submission
from mkgen.codegen.candidate import scales
from mkgen.codegen.registry import backend_named
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings, evaluate
from mkgen.record import Record
from mkgen.target import Target
from mkgen.task import Task, Tensor

MODULES = Path(__file__).parent / "adversarial" / "modules"
SETTINGS = Settings(judge=Judge(scales))


class Norm(torch.nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)


def softmax(x: torch.Tensor) -> torch.Tensor:
    return torch.softmax(x, dim=-1)


#: A timed run's baseline has the reference from the task's own text.
SOFTMAX_FILE = """
import torch
from mkgen.task import Task, Tensor

def softmax(x):
    return torch.softmax(x, dim=-1)

task = Task(name="softmax", category="normalization", reference=softmax,
            inputs={"x": Tensor("ROWS, COLS", scale=3.0)}, bench={"ROWS": 4096, "COLS": 1024},
            check=({"ROWS": 5, "COLS": 67},), heldout=({"ROWS": 7, "COLS": 40},))
"""
#: Small enough for an interpreter to run in a moment.
SOFTMAX = Task(
    name="softmax", category="normalization", reference=softmax,
    inputs={"x": Tensor("ROWS, COLS", scale=3.0)},
    bench={"ROWS": 4096, "COLS": 1024},
    check=({"ROWS": 5, "COLS": 67},), heldout=({"ROWS": 7, "COLS": 40},),
    source=SOFTMAX_FILE,
)  # fmt: skip
NORM = Task(
    name="norm", category="normalization", reference=Norm, init={"width": "WIDTH"},
    inputs={"x": Tensor("ROWS, WIDTH")},
    bench={"ROWS": 4096, "WIDTH": 1024},
    check=({"ROWS": 5, "WIDTH": 67},), heldout=({"ROWS": 7, "WIDTH": 40},),
    source="class Norm",
)  # fmt: skip


def judge(
    path: Path,
    task: Task,
    target: str,
    workers: Workers,
    *,
    wires: bool = True,
    settings: Settings = SETTINGS,
) -> Record:
    """The record of the file at `path`.

    Without `wires` it is judged as if it were ours: no tripwire, and the workers stay warm.
    """
    parsed = Target.parse(target)
    origin = "module" if "ModelNew" in path.read_text() else "source"
    submission = Submission(path, origin, task, backend_named(parsed.backend), parsed)
    candidate: Any = submission.candidate(allow_library=settings.allow_library)
    made = candidate if wires else replace(candidate, origin="template")
    return evaluate(made, workers, settings)

"""The running sum along the last axis."""

import torch

from mkgen.task import Task, Tensor


def cumsum(x):
    return torch.cumsum(x, dim=-1)


task = Task(
    name="cumsum",
    category="math",
    reference=cumsum,
    inputs={"x": Tensor("ROWS, COLS")},
    bench={"ROWS": 4096, "COLS": 32768},
    check=[{"ROWS": 5, "COLS": 4999}, {"ROWS": 2, "COLS": 9001}],
    heldout=[{"ROWS": 3, "COLS": 8209}, {"ROWS": 11, "COLS": 2053}],
)

"""softmax over the last axis."""

import torch

from mkgen.task import Task, Tensor


def softmax(x):
    return torch.softmax(x, dim=-1)


task = Task(
    name="softmax",
    category="normalization",
    reference=softmax,
    inputs={"x": Tensor("ROWS, COLS", scale=3.0)},
    bench={"ROWS": 4096, "COLS": 4096},
    check=[{"ROWS": 19, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 37, "COLS": 129}],
)

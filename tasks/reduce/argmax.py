"""The index of the largest element along the last axis; the first of equals."""

import torch

from mkgen.task import Task, Tensor


def argmax(x):
    return torch.argmax(x, dim=-1)


task = Task(
    name="argmax",
    category="reduce",
    reference=argmax,
    inputs={"x": Tensor("ROWS, COLS")},
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 19, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 37, "COLS": 129}],
)

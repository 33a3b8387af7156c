"""The index of the largest element along the last axis; the first of equals."""

import torch

from mkgen.task import Task, Tensor


def argmax(x):
    return torch.argmax(x, dim=-1)


task = Task(
    name="argmax",
    category="reduce",
    reference=argmax,
    # Below zero, so that no zero of a kernel's own passes for the largest; one size has many short
    # rows, so that every column is the largest of some row.
    inputs={"x": Tensor("ROWS, COLS", shift=-8.0)},
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 19, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 61, "COLS": 3001}, {"ROWS": 401, "COLS": 65}],
)

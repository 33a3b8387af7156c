"""The first of equal largest elements along the last axis."""

import torch

from mkgen.task import Task, Tensor


def argmax_ties(x):
    return torch.argmax(x, dim=-1)


task = Task(
    name="argmax_ties",
    category="reduce",
    reference=argmax_ties,
    # Nine values only, so that every row has many equals; below zero, so that no zero of a kernel's
    # own passes for the largest.
    inputs={"x": Tensor("ROWS, COLS", distribution="integers", low=-9, high=0)},
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 19, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 61, "COLS": 3001}, {"ROWS": 401, "COLS": 65}],
)

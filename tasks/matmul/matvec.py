"""The product of a matrix and a vector."""

import torch

from mkgen.task import Task, Tensor


def matvec(a, x):
    return torch.matmul(a, x)


task = Task(
    name="matvec",
    category="matmul",
    reference=matvec,
    inputs={"a": Tensor("ROWS, COLS"), "x": Tensor("COLS")},
    bench={"ROWS": 8192, "COLS": 16384},
    check=[{"ROWS": 19, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 37, "COLS": 129}],
)

"""The sum over the last axis."""

import torch

from mkgen.task import Task, Tensor


def sum_reduce(x):
    return torch.sum(x, dim=-1)


task = Task(
    name="sum_reduce",
    category="reduce",
    reference=sum_reduce,
    inputs={"x": Tensor("ROWS, COLS")},
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 19, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 37, "COLS": 129}],
)

"""The logarithm of the sum of exponentials along the last axis."""

import torch

from mkgen.task import Task, Tensor


def logsumexp(x):
    return torch.logsumexp(x, dim=-1)


task = Task(
    name="logsumexp",
    category="reduce",
    reference=logsumexp,
    inputs={"x": Tensor("ROWS, COLS", scale=3.0)},
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 19, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 37, "COLS": 129}],
)

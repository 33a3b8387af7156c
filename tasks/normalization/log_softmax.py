"""log_softmax over the last axis."""

import torch

from mkgen.task import Task, Tensor


def log_softmax(x):
    return torch.log_softmax(x, dim=-1)


task = Task(
    name="log_softmax",
    category="normalization",
    reference=log_softmax,
    inputs={"x": Tensor("ROWS, COLS", scale=3.0)},
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 19, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 37, "COLS": 129}],
)

"""The smallest element along the last axis, and where it is first."""

import torch

from mkgen.task import Task, Tensor


def min_dim(x):
    found = torch.min(x, dim=-1)
    return found.values, found.indices


task = Task(
    name="min_dim",
    category="reduce",
    reference=min_dim,
    # Above zero, so that no zero of a kernel's own passes for the smallest.
    inputs={"x": Tensor("ROWS, COLS", shift=8.0)},
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 19, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 61, "COLS": 3001}, {"ROWS": 401, "COLS": 65}],
)

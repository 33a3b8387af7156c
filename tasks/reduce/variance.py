"""The variance along the last axis, unbiased."""

import torch

from mkgen.task import Task, Tensor


def variance(x):
    return torch.var(x, dim=-1)


task = Task(
    name="variance",
    category="reduce",
    reference=variance,
    # Off zero, so that a formula of one pass shows its cancellation.
    inputs={"x": Tensor("ROWS, COLS", shift=3.0)},
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 19, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 37, "COLS": 129}],
)

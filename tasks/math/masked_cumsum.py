"""The running sum of the elements that a mask chooses."""

import torch

from mkgen.task import Task, Tensor


def masked_cumsum(x, mask):
    return torch.cumsum(torch.where(mask, x, 0.0), dim=-1)


task = Task(
    name="masked_cumsum",
    category="math",
    reference=masked_cumsum,
    inputs={"x": Tensor("ROWS, COLS"), "mask": Tensor("ROWS, COLS", dtype="bool")},
    bench={"ROWS": 4096, "COLS": 32768},
    check=[{"ROWS": 5, "COLS": 4999}, {"ROWS": 2, "COLS": 9001}],
    heldout=[{"ROWS": 3, "COLS": 8209}, {"ROWS": 11, "COLS": 2053}],
)

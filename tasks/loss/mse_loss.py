"""The mean of squared differences."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def mse_loss(x, target):
    return F.mse_loss(x, target)


task = Task(
    name="mse_loss",
    category="loss",
    reference=mse_loss,
    inputs={"x": Tensor("ROWS, COLS"), "target": Tensor("ROWS, COLS")},
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 49, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 297, "COLS": 129}],
)

"""Smooth L1: a parabola near zero, a line beyond; the mean."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def smooth_l1(x, target):
    return F.smooth_l1_loss(x, target)


task = Task(
    name="smooth_l1",
    category="loss",
    reference=smooth_l1,
    inputs={"x": Tensor("ROWS, COLS"), "target": Tensor("ROWS, COLS")},
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 49, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 297, "COLS": 129}],
)

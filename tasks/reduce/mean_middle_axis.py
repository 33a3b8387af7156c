"""The mean over the middle axis of three."""

import torch

from mkgen.task import Task, Tensor


def mean_middle_axis(x):
    return torch.mean(x, dim=1)


task = Task(
    name="mean_middle_axis",
    category="reduce",
    reference=mean_middle_axis,
    inputs={"x": Tensor("BATCH, TIME, FEATURES")},
    bench={"BATCH": 64, "TIME": 1024, "FEATURES": 1024},
    check=[{"BATCH": 2, "TIME": 1031, "FEATURES": 37}, {"BATCH": 3, "TIME": 261, "FEATURES": 47}],
    heldout=[{"BATCH": 2, "TIME": 3001, "FEATURES": 3}, {"BATCH": 5, "TIME": 129, "FEATURES": 37}],
)

"""The Kullback-Leibler divergence of a distribution from logarithms of another; the sum."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def kl_div(log_probability, target):
    return F.kl_div(log_probability, target, reduction="sum")


task = Task(
    name="kl_div",
    category="loss",
    reference=kl_div,
    inputs={
        "log_probability": Tensor("ROWS, COLS", distribution="uniform", low=-9, high=0),
        "target": Tensor("ROWS, COLS", distribution="uniform"),
    },
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 49, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 297, "COLS": 129}],
)

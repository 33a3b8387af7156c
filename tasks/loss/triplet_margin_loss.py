"""Triplet margin loss: a positive should be nearer than a negative by 1; the mean."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def triplet_margin_loss(anchor, positive, negative):
    return F.triplet_margin_loss(anchor, positive, negative)


task = Task(
    name="triplet_margin_loss",
    category="loss",
    reference=triplet_margin_loss,
    inputs={
        "anchor": Tensor("ROWS, COLS"),
        "positive": Tensor("ROWS, COLS"),
        "negative": Tensor("ROWS, COLS"),
    },
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 49, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 297, "COLS": 129}],
)

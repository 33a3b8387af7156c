"""One less the cosine of two vectors; the mean over the batch."""

import torch
import torch.nn.functional as F

from mkgen.task import Task, Tensor


def cosine_similarity_loss(x, target):
    return torch.mean(1 - F.cosine_similarity(x, target, dim=-1))


task = Task(
    name="cosine_similarity_loss",
    category="loss",
    reference=cosine_similarity_loss,
    inputs={"x": Tensor("ROWS, COLS", shift=0.5), "target": Tensor("ROWS, COLS", shift=0.5)},
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 49, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 297, "COLS": 129}],
)

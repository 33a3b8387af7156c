"""Cross entropy of class indices; the mean over the batch."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def cross_entropy(logits, label):
    return F.cross_entropy(logits, label)


task = Task(
    name="cross_entropy",
    category="loss",
    reference=cross_entropy,
    inputs={
        "logits": Tensor("BATCH, CLASSES", scale=3.0),
        "label": Tensor("BATCH", dtype="int64", distribution="integers", high="CLASSES"),
    },
    bench={"BATCH": 16384, "CLASSES": 8192},
    check=[{"BATCH": 19, "CLASSES": 1031}, {"BATCH": 7, "CLASSES": 2500}],
    heldout=[{"BATCH": 13, "CLASSES": 3001}, {"BATCH": 297, "CLASSES": 129}],
)

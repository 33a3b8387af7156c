"""Cross entropy of class indices; the mean over the batch."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def cross_entropy(logits, label):
    return F.cross_entropy(logits, label)


task = Task(
    name="cross_entropy",
    category="loss",
    reference=cross_entropy,
    # As softmax: one workload far below zero, two so far apart that exp overflows when the maximum
    # misses an element.
    inputs={
        "logits": Tensor("BATCH, CLASSES", scale="SPREAD", shift="-BELOW"),
        "label": Tensor("BATCH", dtype="int64", distribution="integers", high="CLASSES"),
    },
    bench={"BATCH": 16384, "CLASSES": 8192, "SPREAD": 3, "BELOW": 0},
    check=[
        {"BATCH": 19, "CLASSES": 1031, "SPREAD": 3, "BELOW": 0},
        {"BATCH": 7, "CLASSES": 2500, "SPREAD": 3, "BELOW": 200},
    ],
    heldout=[
        {"BATCH": 13, "CLASSES": 3001, "SPREAD": 1000, "BELOW": 0},
        {"BATCH": 297, "CLASSES": 129, "SPREAD": 1000, "BELOW": 0},
    ],
)

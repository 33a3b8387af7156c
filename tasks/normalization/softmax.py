"""softmax over the last axis."""

import torch

from mkgen.task import Task, Tensor


def softmax(x):
    return torch.softmax(x, dim=-1)


task = Task(
    name="softmax",
    category="normalization",
    reference=softmax,
    # Softmax hides a wrong maximum: any shift gives the same. So one workload has logits far below
    # zero (BELOW), two have them so far apart (SPREAD) that exp overflows when the maximum misses
    # an element.
    inputs={"x": Tensor("ROWS, COLS", scale="SPREAD", shift="-BELOW")},
    bench={"ROWS": 4096, "COLS": 4096, "SPREAD": 3, "BELOW": 0},
    check=[
        {"ROWS": 19, "COLS": 1031, "SPREAD": 3, "BELOW": 0},
        {"ROWS": 7, "COLS": 2500, "SPREAD": 3, "BELOW": 200},
    ],
    heldout=[
        {"ROWS": 61, "COLS": 3001, "SPREAD": 1000, "BELOW": 0},
        {"ROWS": 401, "COLS": 65, "SPREAD": 1000, "BELOW": 0},
    ],
)

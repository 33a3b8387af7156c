"""The logarithm of the sum of exponentials along the last axis."""

import torch

from mkgen.task import Task, Tensor


def logsumexp(x):
    return torch.logsumexp(x, dim=-1)


task = Task(
    name="logsumexp",
    category="reduce",
    reference=logsumexp,
    # As softmax: one workload far below zero, two so far apart that exp overflows when the maximum
    # misses an element.
    inputs={"x": Tensor("ROWS, COLS", scale="SPREAD", shift="-BELOW")},
    bench={"ROWS": 8192, "COLS": 8192, "SPREAD": 3, "BELOW": 0},
    check=[
        {"ROWS": 19, "COLS": 1031, "SPREAD": 3, "BELOW": 0},
        {"ROWS": 7, "COLS": 2500, "SPREAD": 3, "BELOW": 200},
    ],
    heldout=[
        {"ROWS": 13, "COLS": 3001, "SPREAD": 1000, "BELOW": 0},
        {"ROWS": 37, "COLS": 129, "SPREAD": 1000, "BELOW": 0},
    ],
)

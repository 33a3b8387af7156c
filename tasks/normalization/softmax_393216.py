"""softmax over 393,216 columns: no block's registers hold a row."""

import torch

from mkgen.task import Task, Tensor


def softmax_393216(x):
    return torch.softmax(x, dim=-1)


task = Task(
    name="softmax_393216",
    category="normalization",
    reference=softmax_393216,
    # As softmax: one workload far below zero, two so far apart that exp overflows when the maximum
    # misses an element.
    inputs={"x": Tensor("ROWS, COLS", scale="SPREAD", shift="-BELOW")},
    bench={"ROWS": 512, "COLS": 393216, "SPREAD": 3, "BELOW": 0},
    check=[
        {"ROWS": 3, "COLS": 12289, "SPREAD": 3, "BELOW": 0},
        {"ROWS": 2, "COLS": 20011, "SPREAD": 3, "BELOW": 200},
    ],
    heldout=[
        {"ROWS": 2, "COLS": 18433, "SPREAD": 1000, "BELOW": 0},
        {"ROWS": 5, "COLS": 9001, "SPREAD": 1000, "BELOW": 0},
    ],
)

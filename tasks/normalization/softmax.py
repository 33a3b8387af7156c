"""softmax over the last axis."""

import torch

from mkgen.task import Task, Tensor


def softmax(x):
    return torch.softmax(x, dim=-1)


task = Task(
    name="softmax",
    category="normalization",
    reference=softmax,
    # Softmax hides a wrong maximum: any shift gives the same. One size has logits far below zero,
    # one has them so far apart that exp overflows when the maximum misses an element.
    inputs={
        "x": Tensor(
            "ROWS, COLS",
            scale="1000 if ROWS == 401 else 3",
            shift="-200 if ROWS == 7 else 0",
        )
    },
    bench={"ROWS": 4096, "COLS": 4096},
    check=[{"ROWS": 19, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 401, "COLS": 65}],
)

"""Rows picked per column by an index that all matrices share."""

import torch

from mkgen.task import Task, Tensor


def take_along_dim(x, index):
    return torch.take_along_dim(x, index, 1)


task = Task(
    name="take_along_dim",
    category="index",
    reference=take_along_dim,
    inputs={
        "x": Tensor("BATCH, ROWS, COLS"),
        "index": Tensor("1, PICKS, COLS", dtype="int64", distribution="integers", high="ROWS"),
    },
    bench={"BATCH": 64, "ROWS": 1024, "COLS": 1024, "PICKS": 512},
    check=[
        {"BATCH": 3, "ROWS": 37, "COLS": 61, "PICKS": 29},
        {"BATCH": 2, "ROWS": 11, "COLS": 1031, "PICKS": 17},
    ],
    heldout=[
        {"BATCH": 5, "ROWS": 23, "COLS": 77, "PICKS": 31},
        {"BATCH": 3, "ROWS": 101, "COLS": 64, "PICKS": 64},
    ],
)

"""One of two tensors, row by row, as a column of conditions says."""

import torch

from mkgen.task import Task, Tensor


def where_broadcast(condition, x, z):
    return torch.where(condition, x, z)


task = Task(
    name="where_broadcast",
    category="broadcast",
    reference=where_broadcast,
    inputs={
        "condition": Tensor("ROWS, 1", dtype="bool", distribution="integers", high=2),
        "x": Tensor("BATCH, ROWS, COLS"),
        "z": Tensor("COLS"),
    },
    bench={"BATCH": 64, "ROWS": 1024, "COLS": 1024},
    check=[{"BATCH": 3, "ROWS": 37, "COLS": 61}, {"BATCH": 2, "ROWS": 11, "COLS": 1031}],
    heldout=[{"BATCH": 5, "ROWS": 23, "COLS": 77}, {"BATCH": 3, "ROWS": 128, "COLS": 64}],
)

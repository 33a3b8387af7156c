"""Columns picked by an index."""

import torch

from mkgen.task import Task, Tensor


def index_select(x, index):
    return torch.index_select(x, 1, index)


task = Task(
    name="index_select",
    category="index",
    reference=index_select,
    inputs={
        "x": Tensor("ROWS, COLS"),
        "index": Tensor("PICKS", dtype="int64", distribution="integers", high="COLS"),
    },
    bench={"ROWS": 16384, "COLS": 8192, "PICKS": 2048},
    check=[{"ROWS": 37, "COLS": 211, "PICKS": 131}, {"ROWS": 5, "COLS": 1031, "PICKS": 2053}],
    heldout=[{"ROWS": 23, "COLS": 17, "PICKS": 389}, {"ROWS": 96, "COLS": 307, "PICKS": 128}],
)

"""Rows copied over the rows that an index names; of several for one row the last stays."""

import torch

from mkgen.task import Task, Tensor


def index_copy(x, index, values):
    return torch.index_copy(x, 0, index, values)


task = Task(
    name="index_copy",
    category="index",
    reference=index_copy,
    inputs={
        "x": Tensor("ROWS, COLS"),
        "index": Tensor("SOURCES", dtype="int64", distribution="integers", high="ROWS"),
        "values": Tensor("SOURCES, COLS"),
    },
    bench={"ROWS": 4096, "COLS": 1024, "SOURCES": 2048},
    check=[{"ROWS": 67, "COLS": 83, "SOURCES": 31}, {"ROWS": 5, "COLS": 307, "SOURCES": 47}],
    heldout=[{"ROWS": 2, "COLS": 509, "SOURCES": 3}, {"ROWS": 129, "COLS": 41, "SOURCES": 101}],
)

"""Rows added to the rows that an index names; there are more of them, so that some meet."""

import torch

from mkgen.task import Task, Tensor


def index_add_duplicates(x, index, values):
    return torch.index_add(x, 0, index, values)


task = Task(
    name="index_add_duplicates",
    category="index",
    reference=index_add_duplicates,
    inputs={
        "x": Tensor("ROWS, COLS"),
        "index": Tensor("SOURCES", dtype="int64", distribution="integers", high="ROWS"),
        "values": Tensor("SOURCES, COLS"),
    },
    # more sources than rows: duplicates are certain
    bench={"ROWS": 512, "COLS": 4096, "SOURCES": 4096},
    check=[{"ROWS": 13, "COLS": 83, "SOURCES": 59}, {"ROWS": 5, "COLS": 307, "SOURCES": 97}],
    heldout=[{"ROWS": 2, "COLS": 509, "SOURCES": 31}, {"ROWS": 29, "COLS": 41, "SOURCES": 211}],
)

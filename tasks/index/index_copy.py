"""Rows copied over the rows that an index names, each once."""

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
        "index": Tensor("SOURCES", dtype="int64", distribution="distinct", high="ROWS"),
        "values": Tensor("SOURCES, COLS"),
    },
    bench={"ROWS": 4096, "COLS": 1024, "SOURCES": 2048},
    # PyTorch leaves open which of several rows for one place stays, so no place is named twice.
    check=[{"ROWS": 67, "COLS": 83, "SOURCES": 31}, {"ROWS": 47, "COLS": 307, "SOURCES": 47}],
    heldout=[{"ROWS": 3, "COLS": 509, "SOURCES": 1}, {"ROWS": 277, "COLS": 41, "SOURCES": 261}],
)

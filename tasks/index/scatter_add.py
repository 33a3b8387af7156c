"""Sources added to the elements of their row that an index names."""

import torch

from mkgen.task import Task, Tensor


def scatter_add(x, index, values):
    return torch.scatter_add(x, 1, index, values)


task = Task(
    name="scatter_add",
    category="index",
    reference=scatter_add,
    inputs={
        "x": Tensor("ROWS, COLS"),
        "index": Tensor("ROWS, SOURCES", dtype="int64", distribution="integers", high="COLS"),
        "values": Tensor("ROWS, SOURCES"),
    },
    bench={"ROWS": 1024, "COLS": 4096, "SOURCES": 1024},
    check=[{"ROWS": 7, "COLS": 211, "SOURCES": 131}, {"ROWS": 3, "COLS": 1031, "SOURCES": 67}],
    heldout=[{"ROWS": 5, "COLS": 17, "SOURCES": 389}, {"ROWS": 11, "COLS": 307, "SOURCES": 37}],
)

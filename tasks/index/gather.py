"""Elements of every row, picked by an index of the row."""

import torch

from mkgen.task import Task, Tensor


def gather(x, index):
    return torch.gather(x, 1, index)


task = Task(
    name="gather",
    category="index",
    reference=gather,
    inputs={
        "x": Tensor("ROWS, COLS"),
        "index": Tensor("ROWS, PICKS", dtype="int64", distribution="integers", high="COLS"),
    },
    bench={"ROWS": 8192, "COLS": 8192, "PICKS": 4096},
    check=[{"ROWS": 37, "COLS": 211, "PICKS": 131}, {"ROWS": 5, "COLS": 1031, "PICKS": 2053}],
    heldout=[{"ROWS": 23, "COLS": 17, "PICKS": 389}, {"ROWS": 96, "COLS": 307, "PICKS": 128}],
)

"""Rows of a table, chosen by index."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def embedding(ids, table):
    return F.embedding(ids, table)


task = Task(
    name="embedding",
    category="index",
    reference=embedding,
    inputs={
        "ids": Tensor("B, T", dtype="int64", distribution="integers", high="V"),
        "table": Tensor("V, D"),
    },
    bench={"B": 64, "T": 512, "V": 50257, "D": 768},
    check=[{"B": 3, "T": 17, "V": 101, "D": 33}, {"B": 2, "T": 7, "V": 53, "D": 300}],
    # The last: one element less than whole blocks, so that blocks set too close together show.
    heldout=[{"B": 5, "T": 11, "V": 67, "D": 129}, {"B": 1, "T": 23, "V": 31, "D": 89}],
)

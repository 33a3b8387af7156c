"""The sum of all that follows each element."""

import torch

from mkgen.task import Task, Tensor


def exclusive_reverse_cumsum(x):
    following = torch.cumsum(torch.flip(x, dims=(-1,)), dim=-1)
    return torch.flip(following, dims=(-1,)) - x


task = Task(
    name="exclusive_reverse_cumsum",
    category="math",
    reference=exclusive_reverse_cumsum,
    inputs={"x": Tensor("ROWS, COLS")},
    bench={"ROWS": 4096, "COLS": 32768},
    check=[{"ROWS": 5, "COLS": 4999}, {"ROWS": 2, "COLS": 9001}],
    heldout=[{"ROWS": 3, "COLS": 8209}, {"ROWS": 11, "COLS": 2053}],
)

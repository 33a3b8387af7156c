"""The product along the last axis, of values near one."""

import torch

from mkgen.task import Task, Tensor


def prod_reduce(x):
    return torch.prod(x, dim=-1)


task = Task(
    name="prod_reduce",
    category="reduce",
    reference=prod_reduce,
    # Near one, so that a product of thousands neither vanishes nor overflows.
    inputs={"x": Tensor("ROWS, COLS", scale=0.01, shift=1.0)},
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 19, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 37, "COLS": 129}],
)

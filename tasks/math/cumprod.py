"""The running product along the last axis, of values near one."""

import torch

from mkgen.task import Task, Tensor


def cumprod(x):
    return torch.cumprod(x, dim=-1)


task = Task(
    name="cumprod",
    category="math",
    reference=cumprod,
    # Near one, so that a product of thousands neither vanishes nor overflows.
    inputs={"x": Tensor("ROWS, COLS", scale=0.01, shift=1.0)},
    bench={"ROWS": 8192, "COLS": 4096},
    check=[{"ROWS": 5, "COLS": 4999}, {"ROWS": 2, "COLS": 9001}],
    heldout=[{"ROWS": 3, "COLS": 8209}, {"ROWS": 11, "COLS": 2053}],
)

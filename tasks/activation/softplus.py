"""softplus: log(1 + exp(x))."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def softplus(x):
    return F.softplus(x)


task = Task(
    name="softplus",
    category="activation",
    reference=softplus,
    inputs={"x": Tensor("ROWS, COLS", scale=3.0)},
    bench={"ROWS": 8192, "COLS": 16384},
    check=[{"ROWS": 33, "COLS": 259}, {"ROWS": 5, "COLS": 4099}],
    heldout=[{"ROWS": 101, "COLS": 173}, {"ROWS": 4, "COLS": 6144}],
)

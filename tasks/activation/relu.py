"""relu: the larger of x and 0."""

import torch

from mkgen.task import Task, Tensor


def relu(x):
    return torch.relu(x)


task = Task(
    name="relu",
    category="activation",
    reference=relu,
    inputs={"x": Tensor("ROWS, COLS")},
    bench={"ROWS": 4096, "COLS": 16384},
    check=[{"ROWS": 33, "COLS": 259}, {"ROWS": 5, "COLS": 4099}],
    # The last: one element less than whole blocks, so that blocks set too close together show.
    heldout=[{"ROWS": 101, "COLS": 173}, {"ROWS": 1, "COLS": 20479}],
)

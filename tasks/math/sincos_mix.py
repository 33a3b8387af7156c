"""sin and cos of the same phase, mixed."""

import torch

from mkgen.task import Task, Tensor


def sincos_mix(x, phase):
    return torch.sin(phase) * x + torch.cos(phase) * torch.abs(x) ** 1.5


task = Task(
    name="sincos_mix",
    category="math",
    reference=sincos_mix,
    inputs={"x": Tensor("ROWS, COLS"), "phase": Tensor("ROWS, COLS", scale=3.0)},
    bench={"ROWS": 8192, "COLS": 16384},
    check=[{"ROWS": 33, "COLS": 259}, {"ROWS": 5, "COLS": 4099}],
    heldout=[{"ROWS": 101, "COLS": 173}, {"ROWS": 4, "COLS": 6144}],
)

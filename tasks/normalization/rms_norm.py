"""RMS normalisation over the last axis, with a weight."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def rms_norm(x, weight):
    return F.rms_norm(x, (x.shape[-1],), weight, eps=1e-6)


task = Task(
    name="rms_norm",
    category="normalization",
    reference=rms_norm,
    inputs={"x": Tensor("ROWS, COLS"), "weight": Tensor("COLS")},
    bench={"ROWS": 8192, "COLS": 8192},
    check=[{"ROWS": 19, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 37, "COLS": 129}],
)

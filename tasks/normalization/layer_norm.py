"""Layer normalisation over the last axis, with weight and bias."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def layer_norm(x, weight, bias):
    return F.layer_norm(x, (x.shape[-1],), weight, bias, eps=1e-5)


task = Task(
    name="layer_norm",
    category="normalization",
    reference=layer_norm,
    inputs={"x": Tensor("ROWS, COLS"), "weight": Tensor("COLS"), "bias": Tensor("COLS")},
    bench={"ROWS": 8192, "COLS": 4096},
    check=[{"ROWS": 19, "COLS": 1031}, {"ROWS": 7, "COLS": 2500}],
    heldout=[{"ROWS": 13, "COLS": 3001}, {"ROWS": 37, "COLS": 129}],
)

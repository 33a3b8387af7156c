"""Group normalisation of 8 groups of channels, with weight and bias."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def group_norm(x, weight, bias):
    return F.group_norm(x, 8, weight, bias)


task = Task(
    name="group_norm",
    category="normalization",
    reference=group_norm,
    inputs={"x": Tensor("N, C, H, W"), "weight": Tensor("C"), "bias": Tensor("C")},
    bench={"N": 64, "C": 256, "H": 64, "W": 64},
    check=[{"N": 2, "C": 24, "H": 17, "W": 19}, {"N": 1, "C": 16, "H": 37, "W": 31}],
    heldout=[{"N": 3, "C": 8, "H": 41, "W": 43}, {"N": 2, "C": 40, "H": 11, "W": 13}],
)

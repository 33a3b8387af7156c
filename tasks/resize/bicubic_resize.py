"""Bicubic resize to twice the size, corners not aligned."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def bicubic_resize(x):
    return F.interpolate(x, scale_factor=2.0, mode="bicubic", align_corners=False)


task = Task(
    name="bicubic_resize",
    category="resize",
    reference=bicubic_resize,
    inputs={"x": Tensor("N, C, H, W")},
    bench={"N": 16, "C": 32, "H": 128, "W": 128},
    check=[{"N": 2, "C": 5, "H": 13, "W": 11}, {"N": 1, "C": 7, "H": 16, "W": 15}],
    heldout=[{"N": 3, "C": 4, "H": 11, "W": 14}, {"N": 1, "C": 12, "H": 16, "W": 16}],
)

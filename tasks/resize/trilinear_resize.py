"""Trilinear resize to twice the size, corners aligned."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def trilinear_resize(x):
    return F.interpolate(x, scale_factor=2.0, mode="trilinear", align_corners=True)


task = Task(
    name="trilinear_resize",
    category="resize",
    reference=trilinear_resize,
    inputs={"x": Tensor("N, C, D, H, W")},
    bench={"N": 2, "C": 16, "D": 32, "H": 64, "W": 64},
    check=[
        {"N": 1, "C": 3, "D": 5, "H": 7, "W": 6},
        {"N": 2, "C": 2, "D": 4, "H": 9, "W": 5},
    ],
    heldout=[
        {"N": 1, "C": 5, "D": 3, "H": 6, "W": 7},
        {"N": 1, "C": 6, "D": 4, "H": 8, "W": 8},
    ],
)

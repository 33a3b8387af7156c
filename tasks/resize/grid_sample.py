"""Bilinear sampling at coordinates read from memory; 0 outside the image."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def grid_sample(x, grid):
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


task = Task(
    name="grid_sample",
    category="resize",
    reference=grid_sample,
    # some coordinates lie outside [-1, 1]
    inputs={
        "x": Tensor("N, C, H, W"),
        "grid": Tensor("N, P, Q, 2", distribution="uniform", low=-1, high=1, scale=1.2),
    },
    bench={"N": 16, "C": 32, "H": 256, "W": 256, "P": 256, "Q": 256},
    check=[
        {"N": 2, "C": 5, "H": 13, "W": 11, "P": 15, "Q": 17},
        {"N": 1, "C": 7, "H": 16, "W": 15, "P": 19, "Q": 21},
    ],
    heldout=[
        {"N": 3, "C": 4, "H": 9, "W": 14, "P": 13, "Q": 23},
        {"N": 1, "C": 12, "H": 12, "W": 17, "P": 32, "Q": 32},
    ],
)

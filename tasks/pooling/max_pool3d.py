"""3-D max pooling, 3 by 3 by 3, stride 2, padding 1."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def max_pool3d(x):
    return F.max_pool3d(x, kernel_size=3, stride=2, padding=1)


task = Task(
    name="max_pool3d",
    category="pooling",
    reference=max_pool3d,
    # mostly below zero: a maximum must start at minus infinity, and padding must not count as 0
    inputs={"x": Tensor("N, C, D, H, W", shift=-3.0)},
    bench={"N": 4, "C": 32, "D": 32, "H": 64, "W": 64},
    check=[
        {"N": 2, "C": 3, "D": 9, "H": 11, "W": 10},
        {"N": 1, "C": 5, "D": 8, "H": 13, "W": 9},
    ],
    heldout=[
        {"N": 1, "C": 7, "D": 10, "H": 9, "W": 11},
        {"N": 3, "C": 2, "D": 7, "H": 12, "W": 9},
    ],
)

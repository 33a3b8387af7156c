"""2-D convolution, 3 by 3, padding 1."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def conv2d(x, weight):
    return F.conv2d(x, weight, padding=1)


task = Task(
    name="conv2d",
    category="convolution",
    reference=conv2d,
    inputs={"x": Tensor("N, C, H, W"), "weight": Tensor("K, C, R, S")},
    bench={"N": 32, "C": 64, "H": 56, "W": 56, "K": 64, "R": 3, "S": 3},
    check=[
        {"N": 2, "C": 19, "H": 13, "W": 11, "K": 70, "R": 3, "S": 3},
        {"N": 1, "C": 8, "H": 17, "W": 19, "K": 133, "R": 3, "S": 3},
    ],
    # C = 25: the last tile of the sum holds one term. K = 95: the last tile lacks one row.
    heldout=[
        {"N": 3, "C": 25, "H": 9, "W": 23, "K": 95, "R": 3, "S": 3},
        {"N": 1, "C": 37, "H": 15, "W": 13, "K": 17, "R": 3, "S": 3},
    ],
)

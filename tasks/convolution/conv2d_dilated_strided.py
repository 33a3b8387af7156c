"""2-D convolution, 3 by 3, stride 2, padding 2, dilation 2."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def conv2d_dilated_strided(x, weight):
    return F.conv2d(x, weight, stride=2, padding=2, dilation=2)


task = Task(
    name="conv2d_dilated_strided",
    category="convolution",
    reference=conv2d_dilated_strided,
    inputs={"x": Tensor("N, C, H, W"), "weight": Tensor("K, C, R, S")},
    bench={"N": 32, "C": 128, "H": 112, "W": 112, "K": 128, "R": 3, "S": 3},
    check=[
        {"N": 2, "C": 19, "H": 25, "W": 22, "K": 70, "R": 3, "S": 3},
        {"N": 1, "C": 8, "H": 33, "W": 31, "K": 133, "R": 3, "S": 3},
    ],
    # C = 25: the last tile of the sum holds one term. K = 95: the last tile lacks one row.
    heldout=[
        {"N": 3, "C": 25, "H": 18, "W": 43, "K": 95, "R": 3, "S": 3},
        {"N": 1, "C": 37, "H": 27, "W": 25, "K": 17, "R": 3, "S": 3},
    ],
)

"""2-D convolution, 1 by 1: a matrix product over the channels of every pixel."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def pointwise_conv2d(x, weight):
    return F.conv2d(x, weight)


task = Task(
    name="pointwise_conv2d",
    category="convolution",
    reference=pointwise_conv2d,
    inputs={"x": Tensor("N, C, H, W"), "weight": Tensor("K, C, 1, 1")},
    bench={"N": 32, "C": 256, "H": 56, "W": 56, "K": 256},
    check=[
        {"N": 2, "C": 77, "H": 13, "W": 11, "K": 70},
        {"N": 1, "C": 67, "H": 17, "W": 19, "K": 133},
    ],
    # C = 65: the last tile of the sum holds one term. K = 95: the last tile lacks one row.
    heldout=[
        {"N": 3, "C": 65, "H": 9, "W": 13, "K": 95},
        {"N": 1, "C": 107, "H": 15, "W": 13, "K": 17},
    ],
)

"""Depthwise 2-D convolution: each channel by its own 3 by 3 filter, padding 1."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def depthwise_conv2d(x, weight):
    return F.conv2d(x, weight, padding=1, groups=x.shape[1])


task = Task(
    name="depthwise_conv2d",
    category="convolution",
    reference=depthwise_conv2d,
    inputs={"x": Tensor("N, C, H, W"), "weight": Tensor("C, 1, R, S")},
    bench={"N": 32, "C": 128, "H": 112, "W": 112, "R": 3, "S": 3},
    check=[
        {"N": 2, "C": 5, "H": 13, "W": 19, "R": 3, "S": 3},
        {"N": 1, "C": 11, "H": 14, "W": 15, "R": 3, "S": 3},
    ],
    heldout=[
        {"N": 3, "C": 7, "H": 9, "W": 14, "R": 3, "S": 3},
        {"N": 1, "C": 13, "H": 16, "W": 11, "R": 3, "S": 3},
    ],
)

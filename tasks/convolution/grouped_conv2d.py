"""2-D convolution in four groups, 3 by 3, padding 1, with bias."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def grouped_conv2d(x, weight, bias):
    return F.conv2d(x, weight, bias, padding=1, groups=4)


task = Task(
    name="grouped_conv2d",
    category="convolution",
    reference=grouped_conv2d,
    inputs={"x": Tensor("N, C, H, W"), "weight": Tensor("K, C // 4, R, S"), "bias": Tensor("K")},
    bench={"N": 32, "C": 256, "H": 56, "W": 56, "K": 256, "R": 3, "S": 3},
    # K / 4 filters a group: 70 and 133, then 95 and 17.
    check=[
        {"N": 1, "C": 28, "H": 13, "W": 11, "K": 280, "R": 3, "S": 3},
        {"N": 1, "C": 20, "H": 12, "W": 13, "K": 532, "R": 3, "S": 3},
    ],
    heldout=[
        {"N": 2, "C": 36, "H": 9, "W": 11, "K": 380, "R": 3, "S": 3},
        {"N": 1, "C": 44, "H": 15, "W": 13, "K": 68, "R": 3, "S": 3},
    ],
)

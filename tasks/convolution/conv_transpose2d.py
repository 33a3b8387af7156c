"""Transposed 2-D convolution, 3 by 3, stride 2, padding 1, output padding 1, with bias."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def conv_transpose2d(x, weight, bias):
    return F.conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1)


task = Task(
    name="conv_transpose2d",
    category="convolution",
    reference=conv_transpose2d,
    inputs={"x": Tensor("N, C, H, W"), "weight": Tensor("C, K, R, S"), "bias": Tensor("K")},
    bench={"N": 16, "C": 128, "H": 56, "W": 56, "K": 64, "R": 3, "S": 3},
    check=[
        {"N": 2, "C": 19, "H": 7, "W": 6, "K": 70, "R": 3, "S": 3},
        {"N": 1, "C": 8, "H": 9, "W": 8, "K": 133, "R": 3, "S": 3},
    ],
    # C = 25: the last tile of the sum holds one term. K = 95: the last tile lacks one row.
    heldout=[
        {"N": 3, "C": 25, "H": 5, "W": 7, "K": 95, "R": 3, "S": 3},
        {"N": 1, "C": 37, "H": 8, "W": 7, "K": 17, "R": 3, "S": 3},
    ],
)

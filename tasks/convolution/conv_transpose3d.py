"""Transposed 3-D convolution, 3 by 3 by 3, stride 2, padding 1, output padding 1."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def conv_transpose3d(x, weight):
    return F.conv_transpose3d(x, weight, stride=2, padding=1, output_padding=1)


task = Task(
    name="conv_transpose3d",
    category="convolution",
    reference=conv_transpose3d,
    inputs={"x": Tensor("N, C, D, H, W"), "weight": Tensor("C, K, T, R, S")},
    bench={"N": 4, "C": 64, "D": 16, "H": 32, "W": 32, "K": 32, "T": 3, "R": 3, "S": 3},
    check=[
        {"N": 2, "C": 3, "D": 3, "H": 3, "W": 4, "K": 70, "T": 3, "R": 3, "S": 3},
        {"N": 1, "C": 5, "D": 2, "H": 4, "W": 5, "K": 133, "T": 3, "R": 3, "S": 3},
    ],
    # K = 95: the last tile lacks one row.
    heldout=[
        {"N": 1, "C": 4, "D": 3, "H": 5, "W": 3, "K": 95, "T": 3, "R": 3, "S": 3},
        {"N": 3, "C": 2, "D": 4, "H": 3, "W": 3, "K": 17, "T": 3, "R": 3, "S": 3},
    ],
)

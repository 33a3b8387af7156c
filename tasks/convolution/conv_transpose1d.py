"""Transposed 1-D convolution, 4 wide, stride 2, padding 1, output padding 1."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def conv_transpose1d(x, weight):
    return F.conv_transpose1d(x, weight, stride=2, padding=1, output_padding=1)


task = Task(
    name="conv_transpose1d",
    category="convolution",
    reference=conv_transpose1d,
    inputs={"x": Tensor("N, C, W"), "weight": Tensor("C, K, S")},
    bench={"N": 32, "C": 256, "W": 4096, "K": 128, "S": 4},
    check=[
        {"N": 2, "C": 19, "W": 43, "K": 70, "S": 4},
        {"N": 1, "C": 21, "W": 101, "K": 133, "S": 4},
    ],
    # K = 95: the last tile lacks one row.
    heldout=[
        {"N": 3, "C": 25, "W": 27, "K": 95, "S": 4},
        {"N": 1, "C": 37, "W": 71, "K": 17, "S": 4},
    ],
)

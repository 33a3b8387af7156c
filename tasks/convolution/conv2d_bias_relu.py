"""2-D convolution, 3 by 3, stride 2, padding 1, with bias and relu."""

import torch
import torch.nn.functional as F

from mkgen.task import Task, Tensor


def conv2d_bias_relu(x, weight, bias):
    return torch.relu(F.conv2d(x, weight, bias, stride=2, padding=1))


task = Task(
    name="conv2d_bias_relu",
    category="convolution",
    reference=conv2d_bias_relu,
    inputs={"x": Tensor("N, C, H, W"), "weight": Tensor("K, C, R, S"), "bias": Tensor("K")},
    bench={"N": 32, "C": 64, "H": 56, "W": 56, "K": 128, "R": 3, "S": 3},
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

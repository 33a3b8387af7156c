"""1-D convolution, 9 wide, padding 4, with bias."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def conv1d(x, weight, bias):
    return F.conv1d(x, weight, bias, padding=4)


task = Task(
    name="conv1d",
    category="convolution",
    reference=conv1d,
    inputs={"x": Tensor("N, C, W"), "weight": Tensor("K, C, S"), "bias": Tensor("K")},
    bench={"N": 32, "C": 128, "W": 4096, "K": 128, "S": 9},
    check=[
        {"N": 2, "C": 11, "W": 101, "K": 70, "S": 9},
        {"N": 1, "C": 5, "W": 203, "K": 133, "S": 9},
    ],
    # C = 9: the last tile of the sum holds one term. K = 95: the last tile lacks one row.
    heldout=[
        {"N": 3, "C": 9, "W": 67, "K": 95, "S": 9},
        {"N": 1, "C": 13, "W": 150, "K": 17, "S": 9},
    ],
)

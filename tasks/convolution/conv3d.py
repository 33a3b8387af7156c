"""3-D convolution, 3 by 3 by 3, padding 1."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def conv3d(x, weight):
    return F.conv3d(x, weight, padding=1)


task = Task(
    name="conv3d",
    category="convolution",
    reference=conv3d,
    inputs={"x": Tensor("N, C, D, H, W"), "weight": Tensor("K, C, T, R, S")},
    bench={"N": 4, "C": 32, "D": 32, "H": 64, "W": 64, "K": 32, "T": 3, "R": 3, "S": 3},
    check=[
        {"N": 2, "C": 3, "D": 5, "H": 6, "W": 7, "K": 70, "T": 3, "R": 3, "S": 3},
        {"N": 1, "C": 5, "D": 4, "H": 7, "W": 5, "K": 133, "T": 3, "R": 3, "S": 3},
    ],
    # 3 * 27 terms: the last tile of the sum holds one or more. K = 95: a row is missing.
    heldout=[
        {"N": 1, "C": 7, "D": 6, "H": 5, "W": 9, "K": 95, "T": 3, "R": 3, "S": 3},
        {"N": 3, "C": 2, "D": 7, "H": 4, "W": 5, "K": 17, "T": 3, "R": 3, "S": 3},
    ],
)

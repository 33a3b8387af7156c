"""The product of a tall and a wide matrix: the sums are short."""

import torch

from mkgen.task import Task, Tensor


def tall_skinny_matmul(a, b):
    return torch.matmul(a, b)


task = Task(
    name="tall_skinny_matmul",
    category="matmul",
    reference=tall_skinny_matmul,
    inputs={"a": Tensor("M, K"), "b": Tensor("K, N")},
    bench={"M": 16384, "N": 16384, "K": 32},
    check=[{"M": 391, "N": 139, "K": 35}, {"M": 150, "N": 263, "K": 37}],
    heldout=[{"M": 191, "N": 283, "K": 133}, {"M": 517, "N": 65, "K": 41}],
)

"""The product of two transposed matrices."""

import torch

from mkgen.task import Task, Tensor


def matmul_transposed(a, b):
    return torch.matmul(a.T, b.T)


task = Task(
    name="matmul_transposed",
    category="matmul",
    reference=matmul_transposed,
    inputs={"a": Tensor("K, M"), "b": Tensor("N, K")},
    bench={"M": 4096, "N": 4096, "K": 4096},
    check=[{"M": 150, "N": 139, "K": 77}, {"M": 263, "N": 141, "K": 163}],
    heldout=[{"M": 191, "N": 283, "K": 97}, {"M": 257, "N": 65, "K": 211}],
)

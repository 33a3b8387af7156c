"""The product of two matrices."""

import torch

from mkgen.task import Task, Tensor


def matmul(a, b):
    return torch.matmul(a, b)


task = Task(
    name="matmul",
    category="matmul",
    reference=matmul,
    inputs={"a": Tensor("M, K"), "b": Tensor("K, N")},
    bench={"M": 4096, "N": 4096, "K": 4096},
    check=[{"M": 150, "N": 139, "K": 77}, {"M": 523, "N": 541, "K": 163}],
    heldout=[{"M": 61, "N": 283, "K": 523}, {"M": 257, "N": 65, "K": 211}],
)

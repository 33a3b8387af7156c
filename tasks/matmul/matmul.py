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
    # M = 191: the last of several tiles lacks one row, so that tiles set too close together show.
    # K = 513: the last tile of the sum holds one term, so that a loop that ends early shows.
    heldout=[{"M": 191, "N": 283, "K": 513}, {"M": 257, "N": 65, "K": 211}],
)

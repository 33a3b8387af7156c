"""The products of two batches of matrices."""

import torch

from mkgen.task import Task, Tensor


def batched_matmul(a, b):
    return torch.bmm(a, b)


task = Task(
    name="batched_matmul",
    category="matmul",
    reference=batched_matmul,
    inputs={"a": Tensor("BATCH, M, K"), "b": Tensor("BATCH, K, N")},
    bench={"BATCH": 64, "M": 1024, "N": 1024, "K": 512},
    check=[
        {"BATCH": 3, "M": 150, "N": 139, "K": 77},
        {"BATCH": 2, "M": 131, "N": 261, "K": 35},
    ],
    heldout=[
        {"BATCH": 2, "M": 191, "N": 133, "K": 97},
        {"BATCH": 5, "M": 67, "N": 65, "K": 121},
    ],
)

"""The product of two float16 matrices, summed in float32."""

import torch

from mkgen.task import Task, Tensor


def matmul_fp16(a, b):
    return torch.matmul(a, b)


task = Task(
    name="matmul_fp16",
    category="matmul",
    reference=matmul_fp16,
    inputs={"a": Tensor("M, K", dtype="float16"), "b": Tensor("K, N", dtype="float16")},
    bench={"M": 4096, "N": 4096, "K": 4096},
    check=[{"M": 150, "N": 139, "K": 77}, {"M": 263, "N": 141, "K": 163}],
    heldout=[{"M": 191, "N": 283, "K": 97}, {"M": 257, "N": 65, "K": 211}],
)

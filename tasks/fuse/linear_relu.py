"""A linear layer and relu."""

import torch
import torch.nn.functional as F

from mkgen.task import Task, Tensor


def linear_relu(x, weight, bias):
    return torch.relu(F.linear(x, weight, bias))


task = Task(
    name="linear_relu",
    category="fuse",
    reference=linear_relu,
    inputs={"x": Tensor("M, K"), "weight": Tensor("N, K"), "bias": Tensor("N")},
    bench={"M": 4096, "N": 4096, "K": 1024},
    check=[{"M": 150, "N": 139, "K": 77}, {"M": 523, "N": 541, "K": 163}],
    # M = 191: the last of several tiles lacks one row, so that tiles set too close together show.
    # K = 513: the last tile of the sum holds one term, so that a loop that ends early shows.
    heldout=[{"M": 191, "N": 283, "K": 513}, {"M": 257, "N": 65, "K": 211}],
)

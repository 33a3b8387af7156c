"""Attention as people write it out: scores, softmax, weighted values."""

import math

import torch

from mkgen.task import Task, Tensor


def attention_written_out(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return torch.softmax(scores, dim=-1) @ v


task = Task(
    name="attention_written_out",
    category="attention",
    reference=attention_written_out,
    # In the last workload exp overflows unless the maximum is taken away first.
    inputs={"q": Tensor("B, T, D", scale="SPREAD"), "k": Tensor("B, S, D"), "v": Tensor("B, S, D")},
    bench={"B": 64, "T": 512, "S": 1024, "D": 64, "SPREAD": 1},
    check=[
        {"B": 3, "T": 71, "S": 141, "D": 70, "SPREAD": 1},
        {"B": 4, "T": 67, "S": 77, "D": 41, "SPREAD": 1},
    ],
    heldout=[
        {"B": 2, "T": 141, "S": 129, "D": 37, "SPREAD": 1},
        {"B": 2, "T": 71, "S": 69, "D": 67, "SPREAD": 100},
    ],
)

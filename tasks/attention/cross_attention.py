"""Attention of one sequence to another under an added mask."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def cross_attention(q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


task = Task(
    name="cross_attention",
    category="attention",
    reference=cross_attention,
    # A softmax hides a wrong maximum, or none: in the last workload exp overflows without it.
    inputs={
        "q": Tensor("B, H, T, D", scale="SPREAD"),
        "k": Tensor("B, H, S, D"),
        "v": Tensor("B, H, S, D"),
        "mask": Tensor("B, 1, T, S"),
    },
    bench={"B": 4, "H": 16, "T": 512, "S": 1024, "D": 64, "SPREAD": 1},
    check=[
        {"B": 1, "H": 3, "T": 71, "S": 141, "D": 70, "SPREAD": 1},
        {"B": 2, "H": 2, "T": 67, "S": 77, "D": 41, "SPREAD": 1},
    ],
    heldout=[
        {"B": 1, "H": 2, "T": 141, "S": 129, "D": 37, "SPREAD": 1},
        {"B": 2, "H": 1, "T": 71, "S": 69, "D": 67, "SPREAD": 100},
    ],
)

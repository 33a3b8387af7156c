"""Grouped-query attention: several query heads share one of the keys."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def gqa_attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)


task = Task(
    name="gqa_attention",
    category="attention",
    reference=gqa_attention,
    # A softmax hides a wrong maximum, or none: in the last workload exp overflows without it.
    inputs={
        "q": Tensor("B, GROUP * H, T, D", scale="SPREAD"),
        "k": Tensor("B, H, S, D"),
        "v": Tensor("B, H, S, D"),
    },
    bench={"B": 4, "H": 4, "GROUP": 4, "T": 1024, "S": 1024, "D": 64, "SPREAD": 1},
    check=[
        {"B": 1, "H": 2, "GROUP": 2, "T": 71, "S": 141, "D": 70, "SPREAD": 1},
        {"B": 2, "H": 1, "GROUP": 3, "T": 67, "S": 77, "D": 41, "SPREAD": 1},
    ],
    heldout=[
        {"B": 1, "H": 1, "GROUP": 2, "T": 141, "S": 129, "D": 37, "SPREAD": 1},
        {"B": 2, "H": 3, "GROUP": 1, "T": 71, "S": 69, "D": 67, "SPREAD": 100},
    ],
)

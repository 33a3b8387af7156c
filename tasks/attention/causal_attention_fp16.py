"""Causal attention in float16."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def causal_attention_fp16(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


task = Task(
    name="causal_attention_fp16",
    category="attention",
    reference=causal_attention_fp16,
    inputs={
        "q": Tensor("B, H, T, D", dtype="float16"),
        "k": Tensor("B, H, T, D", dtype="float16"),
        "v": Tensor("B, H, T, D", dtype="float16"),
    },
    bench={"B": 4, "H": 16, "T": 1024, "D": 64},
    check=[{"B": 1, "H": 2, "T": 141, "D": 70}, {"B": 2, "H": 3, "T": 67, "D": 41}],
    heldout=[{"B": 1, "H": 1, "T": 193, "D": 37}, {"B": 2, "H": 1, "T": 71, "D": 67}],
)

"""A block of a transformer, norms first: causal attention of several heads, then an MLP."""

import torch.nn.functional as F
from torch import nn

from mkgen.task import Task, Tensor


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = (
            t.view(batch, tokens, self.heads, width // self.heads).transpose(1, 2)
            for t in self.qkv(self.norm1(x)).chunk(3, dim=-1)
        )
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(seen.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.narrow(F.gelu(self.wide(self.norm2(x))))


task = Task(
    name="transformer_block",
    category="arch",
    reference=Block,
    inputs={"x": Tensor("B, T, D")},
    init={"width": "D", "heads": "HEADS"},
    bench={"B": 8, "T": 1024, "D": 768, "HEADS": 12},
    check=[
        {"B": 1, "T": 67, "D": 70, "HEADS": 2},
        {"B": 2, "T": 35, "D": 99, "HEADS": 3},
    ],
    heldout=[
        {"B": 1, "T": 41, "D": 74, "HEADS": 2},
        {"B": 1, "T": 131, "D": 131, "HEADS": 1},
    ],
)

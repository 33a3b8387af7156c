"""Scores of attention heads: the width must be a multiple of the number of heads."""

import torch
from torch import nn


class Model(nn.Module):
    """softmax(q k / sqrt(head size)) over the keys, with a projection before it."""

    def __init__(self, width, heads):
        super().__init__()
        self.project = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x):
        batch, time, width = x.shape
        q = self.project(x).view(batch, time, self.heads, width // self.heads).transpose(1, 2)
        return torch.softmax(torch.matmul(q, q.transpose(2, 3)) * 0.125, dim=-1)


batch_size = 16
seq_len = 512
n_embd = 768
n_head = 12


def get_inputs():
    return [torch.rand(batch_size, seq_len, n_embd)]


def get_init_inputs():
    return [n_embd, n_head]

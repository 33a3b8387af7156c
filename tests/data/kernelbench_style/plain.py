"""Modules and functions with nothing around them."""

import torch
from torch import nn


class Gate(nn.Module):
    """sigmoid(x) * y."""

    def forward(self, x, y):
        return torch.sigmoid(x) * y


class Squash(nn.Module):
    """A linear layer and a tanh, of a width with a default."""

    def __init__(self, width=256):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return torch.tanh(self.linear(x))


def row_sum(x):
    return x.sum(dim=-1)

"""A two-layer classifier with a mean-squared penalty on integer labels' embedding."""

import torch
from torch import nn

batch = 1024
features = 512
hidden = 4 * features
classes = 1000


class Model(nn.Module):
    """Linear, relu, layer norm, linear, plus the row of a table that the label chooses."""

    def __init__(self, features: int, hidden: int, classes: int):
        super().__init__()
        self.up = nn.Linear(features, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.down = nn.Linear(hidden, features, bias=False)
        self.table = nn.Embedding(classes, features)

    def forward(self, x, labels):
        return self.down(self.norm(torch.relu(self.up(x)))) + self.table(labels)


def get_inputs():
    return [torch.randn(batch, features), torch.randint(0, classes, (batch,))]


def get_init_inputs():
    return [features, hidden, classes]

"""Squeeze and excite: every channel scaled by what the whole image says."""

import torch
from torch import nn

from mkgen.task import Task, Tensor


class SqueezeExcite(nn.Module):
    def __init__(self, channels, squeezed):
        super().__init__()
        self.reduce = nn.Linear(channels, squeezed)
        self.expand = nn.Linear(squeezed, channels)

    def forward(self, x):
        mean = x.mean(dim=(2, 3))
        gate = torch.sigmoid(self.expand(torch.relu(self.reduce(mean))))
        return x * gate[:, :, None, None]


task = Task(
    name="squeeze_excite",
    category="arch",
    reference=SqueezeExcite,
    inputs={"x": Tensor("N, C, H, W")},
    init={"channels": "C", "squeezed": "C // 4"},
    bench={"N": 64, "C": 256, "H": 56, "W": 56},
    check=[{"N": 35, "C": 12, "H": 31, "W": 37}, {"N": 3, "C": 140, "H": 3, "W": 5}],
    heldout=[{"N": 9, "C": 516, "H": 2, "W": 3}, {"N": 37, "C": 68, "H": 4, "W": 3}],
)

"""A basic block of a ResNet: two convolutions with batch norm, and the way around them."""

import torch
from torch import nn

from mkgen.task import Task, Tensor


class BasicBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.eval()

    def forward(self, x):
        out = torch.relu(self.norm1(self.conv1(x)))
        out = self.norm2(self.conv2(out))
        return torch.relu(out + x)


task = Task(
    name="resnet_block",
    category="arch",
    reference=BasicBlock,
    inputs={"x": Tensor("N, C, H, W")},
    init={"channels": "C"},
    bench={"N": 32, "C": 64, "H": 56, "W": 56},
    check=[{"N": 1, "C": 37, "H": 9, "W": 13}, {"N": 2, "C": 35, "H": 7, "W": 11}],
    heldout=[{"N": 1, "C": 131, "H": 7, "W": 5}, {"N": 3, "C": 39, "H": 5, "W": 6}],
)

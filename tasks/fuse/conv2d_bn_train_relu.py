"""Convolution, batch normalisation in training, and relu."""

import torch
from torch import nn

from mkgen.task import Task, Tensor


class ConvNormRelu(nn.Module):
    """The block that most image networks are made of, in training."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, 3, padding=1)
        self.norm = nn.BatchNorm2d(filters)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))


task = Task(
    name="conv2d_bn_train_relu",
    category="fuse",
    reference=ConvNormRelu,
    init={"channels": "C", "filters": "K"},
    inputs={"x": Tensor("N, C, H, W")},
    bench={"N": 32, "C": 64, "K": 128, "H": 56, "W": 56},
    check=[
        {"N": 2, "C": 5, "K": 131, "H": 17, "W": 19},
        {"N": 1, "C": 9, "K": 67, "H": 29, "W": 31},
    ],
    heldout=[
        {"N": 3, "C": 7, "K": 71, "H": 13, "W": 17},
        {"N": 2, "C": 3, "K": 139, "H": 11, "W": 37},
    ],
)

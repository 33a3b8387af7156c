"""A convolution, a bias of its own, a relu; the bias' shape is made from the file's integers."""

import torch
from torch import nn


class Model(nn.Module):
    """relu(conv(x) + bias)."""

    def __init__(self, in_channels, out_channels, kernel_size, bias_shape, mode="zeros"):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding_mode=mode)
        self.shift = nn.Parameter(torch.randn(bias_shape) * 0.1)

    def forward(self, x):
        return torch.relu(self.conv(x) + self.shift)


batch_size = 64
in_channels = 32
out_channels = 96
height, width = 128, 128
kernel_size = 3
bias_shape = (out_channels, 1, 1)


def get_inputs():
    return [torch.rand(batch_size, in_channels, height, width)]


def get_init_inputs():
    return [in_channels, out_channels, kernel_size, bias_shape, "zeros"]

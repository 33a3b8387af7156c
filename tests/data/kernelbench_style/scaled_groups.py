"""x scaled by a number and shifted by a row, for several sets of inputs."""

import torch
from torch import nn


class Model(nn.Module):
    """alpha * x + row."""

    def forward(self, x, alpha, row):
        return x * alpha + row


def get_input_groups():
    return [
        [torch.randn(512, 1024), 1.5, torch.randn(1024)],
        [torch.randn(64, 33, 2000), -2.0, torch.randn(2000)],
        [torch.randn(4096), 0.25, torch.randn(4096)],
    ]


def get_init_inputs():
    return []

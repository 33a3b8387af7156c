"""What a vision transformer starts with: patches, a class token, positions."""

import torch
from torch import nn

from mkgen.task import Task, Tensor


class PatchEmbed(nn.Module):
    def __init__(self, channels, width, patches):
        super().__init__()
        self.project = nn.Conv2d(channels, width, kernel_size=4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, patches + 1, width))

    def forward(self, x):
        patches = self.project(x).flatten(2).transpose(1, 2)
        token = self.token.expand(x.shape[0], -1, -1)
        return torch.cat([token, patches], dim=1) + self.position


task = Task(
    name="vit_patch_embed",
    category="arch",
    reference=PatchEmbed,
    inputs={"x": Tensor("N, C, 4 * ROWS, 4 * COLS")},
    init={"channels": "C", "width": "WIDTH", "patches": "ROWS * COLS"},
    bench={"N": 64, "C": 3, "ROWS": 56, "COLS": 56, "WIDTH": 192},
    check=[
        {"N": 2, "C": 3, "ROWS": 9, "COLS": 8, "WIDTH": 70},
        {"N": 1, "C": 4, "ROWS": 5, "COLS": 7, "WIDTH": 133},
    ],
    heldout=[
        {"N": 3, "C": 1, "ROWS": 7, "COLS": 5, "WIDTH": 37},
        {"N": 1, "C": 3, "ROWS": 11, "COLS": 3, "WIDTH": 67},
    ],
)

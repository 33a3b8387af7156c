"""Three linear layers with relu between them."""

import torch
from torch import nn

from mkgen.task import Task, Tensor


class Mlp(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.third = nn.Linear(hidden, outputs)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = torch.relu(self.second(x))
        return self.third(x)


task = Task(
    name="mlp",
    category="arch",
    reference=Mlp,
    inputs={"x": Tensor("N, INPUTS")},
    init={"inputs": "INPUTS", "hidden": "HIDDEN", "outputs": "OUTPUTS"},
    bench={"N": 1024, "INPUTS": 4096, "HIDDEN": 4096, "OUTPUTS": 1000},
    check=[
        {"N": 139, "INPUTS": 77, "HIDDEN": 141, "OUTPUTS": 133},
        {"N": 67, "INPUTS": 163, "HIDDEN": 71, "OUTPUTS": 37},
    ],
    heldout=[
        {"N": 131, "INPUTS": 35, "HIDDEN": 69, "OUTPUTS": 41},
        {"N": 33, "INPUTS": 97, "HIDDEN": 129, "OUTPUTS": 65},
    ],
)

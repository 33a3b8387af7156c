"""A GRU of two layers over a sequence, time first: every hidden state, and the last ones."""

import torch.nn as nn

from mkgen.task import Task, Tensor


class Gru(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, num_layers=2)

    def forward(self, x, h0):
        y, hn = self.gru(x, h0)
        return y, hn


task = Task(
    name="gru_2layer",
    category="arch",
    reference=Gru,
    init={"inputs": "I", "hidden": "H"},
    inputs={"x": Tensor("T, B, I"), "h0": Tensor("2, B, H")},
    bench={"T": 128, "B": 64, "I": 256, "H": 512},
    check=[{"T": 16, "B": 37, "I": 23, "H": 43}, {"T": 5, "B": 131, "I": 37, "H": 41}],
    heldout=[{"T": 4, "B": 6, "I": 133, "H": 131}, {"T": 7, "B": 67, "I": 35, "H": 47}],
)

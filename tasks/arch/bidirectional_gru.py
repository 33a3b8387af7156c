"""A GRU over a sequence in both directions, time first, without biases: every hidden state."""

import torch.nn as nn

from mkgen.task import Task, Tensor


class BidirectionalGru(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, bias=False, bidirectional=True)

    def forward(self, x, h0):
        y, _ = self.gru(x, h0)
        return y


task = Task(
    name="bidirectional_gru",
    category="arch",
    reference=BidirectionalGru,
    init={"inputs": "I", "hidden": "H"},
    inputs={"x": Tensor("T, B, I"), "h0": Tensor("2, B, H")},
    bench={"T": 96, "B": 64, "I": 256, "H": 384},
    check=[{"T": 16, "B": 37, "I": 23, "H": 43}, {"T": 5, "B": 131, "I": 37, "H": 41}],
    heldout=[{"T": 4, "B": 6, "I": 133, "H": 131}, {"T": 7, "B": 67, "I": 35, "H": 47}],
)

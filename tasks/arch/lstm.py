"""An LSTM over a sequence, batch first: every hidden state, and the last hidden and cell state."""

import torch.nn as nn

from mkgen.task import Task, Tensor


class Lstm(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)

    def forward(self, x, h0, c0):
        y, (hn, cn) = self.lstm(x, (h0, c0))
        return y, hn, cn


task = Task(
    name="lstm",
    category="arch",
    reference=Lstm,
    init={"inputs": "I", "hidden": "H"},
    inputs={"x": Tensor("B, T, I"), "h0": Tensor("1, B, H"), "c0": Tensor("1, B, H")},
    bench={"B": 64, "T": 128, "I": 256, "H": 512},
    check=[{"B": 37, "T": 16, "I": 23, "H": 43}, {"B": 131, "T": 5, "I": 37, "H": 41}],
    heldout=[{"B": 6, "T": 4, "I": 133, "H": 131}, {"B": 67, "T": 7, "I": 35, "H": 47}],
)

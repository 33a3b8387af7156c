"""A recurrent layer with tanh over a sequence, time first: every hidden state, and the last."""

import torch.nn as nn

from mkgen.task import Task, Tensor


class Rnn(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.rnn = nn.RNN(inputs, hidden)

    def forward(self, x, h0):
        y, hn = self.rnn(x, h0)
        return y, hn


task = Task(
    name="vanilla_rnn",
    category="arch",
    reference=Rnn,
    init={"inputs": "I", "hidden": "H"},
    inputs={"x": Tensor("T, B, I"), "h0": Tensor("1, B, H")},
    bench={"T": 256, "B": 64, "I": 256, "H": 1024},
    check=[{"T": 16, "B": 37, "I": 23, "H": 43}, {"T": 5, "B": 131, "I": 37, "H": 41}],
    heldout=[{"T": 4, "B": 6, "I": 133, "H": 131}, {"T": 7, "B": 67, "I": 35, "H": 47}],
)

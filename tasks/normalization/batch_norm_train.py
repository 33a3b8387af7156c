"""Batch normalisation in training: its running mean and variance move."""

from torch import nn

from mkgen.task import Task, Tensor


class BatchNormTrain(nn.Module):
    """A layer in training, as it stands between two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.norm(x)


task = Task(
    name="batch_norm_train",
    category="normalization",
    reference=BatchNormTrain,
    init={"channels": "C"},
    inputs={"x": Tensor("N, C, H, W", shift=1.0)},
    bench={"N": 64, "C": 256, "H": 56, "W": 56},
    check=[{"N": 5, "C": 7, "H": 17, "W": 19}, {"N": 3, "C": 5, "H": 37, "W": 31}],
    heldout=[{"N": 2, "C": 11, "H": 41, "W": 43}, {"N": 7, "C": 13, "H": 11, "W": 13}],
)

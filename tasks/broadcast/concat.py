"""Three tensors side by side."""

import torch

from mkgen.task import Task, Tensor


def concat(a, b, c):
    return torch.cat([a, b, c], dim=1)


task = Task(
    name="concat",
    category="broadcast",
    reference=concat,
    inputs={"a": Tensor("ROWS, A"), "b": Tensor("ROWS, B"), "c": Tensor("ROWS, C")},
    bench={"ROWS": 16384, "A": 1024, "B": 2048, "C": 512},
    check=[{"ROWS": 37, "A": 61, "B": 19, "C": 131}, {"ROWS": 5, "A": 2, "B": 1031, "C": 7}],
    heldout=[{"ROWS": 23, "A": 77, "B": 1, "C": 40}, {"ROWS": 192, "A": 19, "B": 67, "C": 42}],
)

"""Adaptive average pooling to 7 by 7, whatever the size."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def adaptive_avg_pool2d(x):
    return F.adaptive_avg_pool2d(x, 7)


task = Task(
    name="adaptive_avg_pool2d",
    category="pooling",
    reference=adaptive_avg_pool2d,
    inputs={"x": Tensor("N, C, H, W")},
    bench={"N": 32, "C": 512, "H": 48, "W": 48},
    check=[{"N": 2, "C": 6, "H": 23, "W": 19}, {"N": 1, "C": 13, "H": 14, "W": 30}],
    heldout=[{"N": 3, "C": 5, "H": 17, "W": 29}, {"N": 1, "C": 17, "H": 9, "W": 10}],
)

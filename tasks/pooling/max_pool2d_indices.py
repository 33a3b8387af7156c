"""Max pooling with the positions of the maxima, 3 by 3, stride 2, padding 1; ties occur."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def max_pool2d_indices(x):
    return F.max_pool2d(x, kernel_size=3, stride=2, padding=1, return_indices=True)


task = Task(
    name="max_pool2d_indices",
    category="pooling",
    reference=max_pool2d_indices,
    # whole numbers, so that many windows hold their maximum more than once
    inputs={"x": Tensor("N, C, H, W", distribution="integers", low=-4, high=5)},
    bench={"N": 32, "C": 64, "H": 112, "W": 112},
    check=[{"N": 2, "C": 5, "H": 23, "W": 19}, {"N": 1, "C": 11, "H": 14, "W": 30}],
    heldout=[{"N": 3, "C": 6, "H": 17, "W": 29}, {"N": 1, "C": 13, "H": 31, "W": 12}],
)

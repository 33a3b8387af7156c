"""Average pooling, 3 by 3, stride 2, padding 1, padding not counted, sizes rounded up."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def avg_pool2d(x):
    return F.avg_pool2d(
        x, kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=False
    )


task = Task(
    name="avg_pool2d",
    category="pooling",
    reference=avg_pool2d,
    inputs={"x": Tensor("N, C, H, W")},
    bench={"N": 32, "C": 64, "H": 112, "W": 112},
    check=[{"N": 2, "C": 5, "H": 23, "W": 20}, {"N": 1, "C": 11, "H": 14, "W": 30}],
    heldout=[{"N": 3, "C": 6, "H": 18, "W": 29}, {"N": 1, "C": 13, "H": 31, "W": 12}],
)

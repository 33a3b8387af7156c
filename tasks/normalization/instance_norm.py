"""Instance normalisation: every channel of every image on its own."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def instance_norm(x):
    return F.instance_norm(x)


task = Task(
    name="instance_norm",
    category="normalization",
    reference=instance_norm,
    inputs={"x": Tensor("N, C, H, W", shift=1.0)},
    bench={"N": 64, "C": 128, "H": 128, "W": 128},
    check=[{"N": 2, "C": 5, "H": 29, "W": 37}, {"N": 1, "C": 3, "H": 53, "W": 47}],
    heldout=[{"N": 3, "C": 7, "H": 41, "W": 43}, {"N": 2, "C": 11, "H": 11, "W": 13}],
)

"""A step of Adam: new parameters and both moments, at step 10."""

import torch

from mkgen.task import Task, Tensor


def adam(parameter, gradient, mean, square):
    mean = torch.lerp(mean, gradient, 0.1)
    square = 0.999 * square + 0.001 * gradient * gradient
    corrected = mean / (1 - 0.9**10)
    deviation = torch.sqrt(square / (1 - 0.999**10)) + 1e-8
    return parameter - 1e-3 * corrected / deviation, mean, square


task = Task(
    name="adam",
    category="optimizer",
    reference=adam,
    inputs={
        "parameter": Tensor("SIZE"),
        "gradient": Tensor("SIZE"),
        "mean": Tensor("SIZE"),
        "square": Tensor("SIZE", distribution="uniform", scale=0.1),
    },
    bench={"SIZE": 33554432},
    check=[{"SIZE": 8209}, {"SIZE": 20011}],
    heldout=[{"SIZE": 10007}, {"SIZE": 24576}],
)

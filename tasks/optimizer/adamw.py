"""A step of AdamW: weights decay apart from the gradient; at step 10."""

import torch

from mkgen.task import Task, Tensor


def adamw(parameter, gradient, mean, square):
    parameter = parameter * (1 - 1e-3 * 0.01)
    mean = torch.lerp(mean, gradient, 0.1)
    square = 0.999 * square + 0.001 * gradient * gradient
    deviation = torch.sqrt(square / (1 - 0.999**10)) + 1e-8
    return torch.addcdiv(parameter, mean / (1 - 0.9**10), deviation, value=-1e-3), mean, square


task = Task(
    name="adamw",
    category="optimizer",
    reference=adamw,
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

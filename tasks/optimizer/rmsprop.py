"""A step of RMSprop: the gradient over the root of its mean square."""

import torch

from mkgen.task import Task, Tensor


def rmsprop(parameter, gradient, square):
    square = 0.99 * square + 0.01 * gradient * gradient
    return parameter - 0.01 * gradient / (torch.sqrt(square) + 1e-8), square


task = Task(
    name="rmsprop",
    category="optimizer",
    reference=rmsprop,
    inputs={
        "parameter": Tensor("SIZE"),
        "gradient": Tensor("SIZE"),
        "square": Tensor("SIZE", distribution="uniform", scale=0.1),
    },
    bench={"SIZE": 33554432},
    check=[{"SIZE": 8209}, {"SIZE": 20011}],
    heldout=[{"SIZE": 10007}, {"SIZE": 24576}],
)

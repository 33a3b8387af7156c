"""A step of gradient descent with momentum: new parameters and new momentum."""

from mkgen.task import Task, Tensor


def sgd_momentum(parameter, gradient, momentum):
    momentum = 0.9 * momentum + gradient
    return parameter - 0.01 * momentum, momentum


task = Task(
    name="sgd_momentum",
    category="optimizer",
    reference=sgd_momentum,
    inputs={
        "parameter": Tensor("SIZE"),
        "gradient": Tensor("SIZE"),
        "momentum": Tensor("SIZE"),
    },
    bench={"SIZE": 33554432},
    check=[{"SIZE": 8209}, {"SIZE": 20011}],
    heldout=[{"SIZE": 10007}, {"SIZE": 24576}],
)

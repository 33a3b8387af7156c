"""A number per channel added to every pixel."""

from mkgen.task import Task, Tensor


def add_broadcast(x, bias):
    return x + bias


task = Task(
    name="add_broadcast",
    category="broadcast",
    reference=add_broadcast,
    inputs={"x": Tensor("N, C, H, W"), "bias": Tensor("C, 1, 1")},
    bench={"N": 32, "C": 256, "H": 64, "W": 64},
    check=[{"N": 2, "C": 19, "H": 13, "W": 17}, {"N": 3, "C": 2, "H": 37, "W": 41}],
    heldout=[{"N": 5, "C": 7, "H": 11, "W": 23}, {"N": 2, "C": 12, "H": 16, "W": 64}],
)

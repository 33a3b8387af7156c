"""gelu(x + bias), the bias broadcast over the rows."""

import torch.nn.functional as F

from mkgen.task import Task, Tensor


def bias_gelu(x, bias):
    return F.gelu(x + bias)


task = Task(
    name="bias_gelu",
    category="broadcast",
    reference=bias_gelu,
    inputs={"x": Tensor("ROWS, COLS"), "bias": Tensor("COLS")},
    bench={"ROWS": 8192, "COLS": 4096},
    check=[{"ROWS": 33, "COLS": 259}, {"ROWS": 5, "COLS": 4099}],
    # The last: two elements less than whole blocks, so that blocks set too close together show.
    heldout=[{"ROWS": 101, "COLS": 173}, {"ROWS": 2, "COLS": 10239}],
)

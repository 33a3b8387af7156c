"""A number wherever a mask, the same for every matrix, is true."""

from mkgen.task import Task, Tensor


def masked_fill(x, mask):
    return x.masked_fill(mask, -1.0)


task = Task(
    name="masked_fill",
    category="index",
    reference=masked_fill,
    inputs={
        "x": Tensor("BATCH, ROWS, COLS"),
        "mask": Tensor("ROWS, COLS", dtype="bool", distribution="integers", high=2),
    },
    bench={"BATCH": 256, "ROWS": 512, "COLS": 512},
    check=[{"BATCH": 3, "ROWS": 37, "COLS": 61}, {"BATCH": 2, "ROWS": 11, "COLS": 1031}],
    heldout=[{"BATCH": 5, "ROWS": 23, "COLS": 77}, {"BATCH": 3, "ROWS": 128, "COLS": 64}],
)

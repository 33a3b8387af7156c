"""A batch of matrices added to another of transposed ones."""

from mkgen.task import Task, Tensor


def transpose_add(x, z):
    return x.transpose(1, 2) + z


task = Task(
    name="transpose_add",
    category="broadcast",
    reference=transpose_add,
    inputs={"x": Tensor("BATCH, COLS, ROWS"), "z": Tensor("BATCH, ROWS, COLS")},
    bench={"BATCH": 32, "ROWS": 1024, "COLS": 1024},
    check=[{"BATCH": 3, "ROWS": 37, "COLS": 61}, {"BATCH": 2, "ROWS": 11, "COLS": 1031}],
    heldout=[{"BATCH": 5, "ROWS": 23, "COLS": 77}, {"BATCH": 3, "ROWS": 128, "COLS": 64}],
)

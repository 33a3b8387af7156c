"""Between kernels there is layout only: no arithmetic on arrays hides in a launcher."""

from __future__ import annotations

import pytest

from mkgen.program import Glue, Program, Repeat
from tests.golden_sources import GOLDEN_TASKS
from tests.launcher_check import array_arithmetic
from tests.matrix_support import (
    BACKENDS,
    C_FAMILY,
    TASKS,
    best_by_estimate,
    default_target,
    generator,
    spread,
)
from tests.sampling import those

CLEAN = """
def f(x, w):
    expected = (("x", x, (A, B), torch.float32),)
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            raise ValueError(f"{name} {array.dtype}")
    y = torch.empty((A, B), dtype=torch.float32, device=x.device)
    padded = jnp.pad(x.transpose(0, 1), ((0, PAD), (0, PAD)))
    grid = (A * B, -(-A // B))
    kernel[grid](padded, y, A, B, num_warps=W)
    for t in reversed(range(A)):
        kernel[grid](x[t], y[t], A, num_warps=W)

    def round_of_h(carried, slices):
        h, c = carried
        h_next = pl.pallas_call(kernel, grid=(A * 2,))(h, c.reshape(A), slices)
        return (h_next, c), h_next

    (h, c), y = jax.lax.scan(round_of_h, (x, w), x, length=A)
    y = pl.pallas_call(kernel, grid=(A * 2,))(*[padded] * R, w.reshape(1, A * B))
    return y.reshape(A, B)
"""


def glue(program: Program) -> list[Glue]:
    """Every Glue step, those inside a Repeat too."""
    steps = [
        s for step in program.steps for s in (step.steps if isinstance(step, Repeat) else (step,))
    ]
    return [s for s in steps if isinstance(s, Glue)]


def check(program: Program, backend: str) -> None:
    """The rules of steps between kernels."""
    assert program.launches
    if backend in C_FAMILY:
        assert not glue(program)
        return
    source = program.sources[-1]
    assert array_arithmetic(source.text, program.launcher) == []
    allowed = {"pad", "permute", "reshape", "slice", "cast", "tile"}
    assert {g.op for g in glue(program)} <= allowed


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", those(TASKS, GOLDEN_TASKS))
def test_launcher_does_no_arithmetic(task: str, backend: str) -> None:
    made = generator(task, default_target(backend))
    for candidate in (best_by_estimate(made), *spread(made, 3)):
        check(candidate.program(made.workload), backend)


def test_the_check_lets_layout_pass() -> None:
    assert array_arithmetic(CLEAN, "f") == []


@pytest.mark.parametrize(
    "line",
    [
        "y = x + 1", "y = -x", "y += 1", "y = x @ w", "y = x.sum()", "y = jnp.sum(x)", "y = x[w]",
        "y = jnp.take(x, w)", "y = torch.relu(x)", "y = abs(x)", "y = x.reshape(A).cumsum(0)",
        "y = jnp.pad(x * 2, 1)", "padded = padded * 2", "y = x[0]", "y = x.at[0].set(1)",
        "y = (lambda a: a)(x) if A else x + x",
    ],
)  # fmt: skip
def test_the_check_finds_arithmetic(line: str) -> None:
    text = CLEAN.replace("    grid = ", f"    {line}\n    grid = ")
    assert array_arithmetic(text, "f"), line


@pytest.mark.parametrize(
    "line", ["h = h + c", "h = slices * 2", "h = slices[0]", "h = jax.lax.scan(f, h.sum(), c)"]
)
def test_the_check_looks_into_the_rounds_of_a_loop(line: str) -> None:
    text = CLEAN.replace("        h_next = ", f"        {line}\n        h_next = ")
    assert array_arithmetic(text, "f"), line

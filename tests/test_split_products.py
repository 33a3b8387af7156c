"""float32 products split into bfloat16: numbers that do not split are computed in full."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from pathlib import Path

import numpy as np

from mkgen.codegen.candidate import Generator
from mkgen.codegen.registry import backend_named
from mkgen.target import Target
from mkgen.task import Workload, find_task
from mkgen_triton.interpreter import InterpreterExecutor

directory = Path(sys.argv[1])
sizes = {"M": 65, "N": 66, "K": 70}
task = find_task("matmul")
made = Generator(task, backend_named("triton"), Target.parse("triton:sm_90"),
                 workload=Workload(name="w", role="user", sizes=sizes))
(option,) = [o for o in made.options(made.kernels[0]) if o.parameters == {
    "TILE_M": 64, "TILE_N": 64, "TILE_K": 32, "WARPS": 4, "STAGES": 2, "GROUP": 8, "SPLIT": True}]
PROGRAM = made.chosen([option]).program(made.workload)


def program(fallback_starts_at):
    (source,) = PROGRAM.sources
    head, second = source.body.split("if strange != 0:")
    second = second.replace("tl.zeros((TILE_M, TILE_N), tl.float32)",
                            f"tl.full((TILE_M, TILE_N), {fallback_starts_at}, tl.float32)")
    source = source.model_copy(update={"body": f"{head}if strange != 0:{second}"})
    return PROGRAM.model_copy(update={"sources": (source,)})


def verdict(kind, fallback_starts_at):
    rng = np.random.default_rng(3)
    a = rng.standard_normal((65, 70), dtype=np.float32)
    b = rng.standard_normal((70, 66), dtype=np.float32)
    if kind == "inf":
        a[3, 5] = np.inf
    elif kind == "nan":
        b[3, 5] = np.nan
    elif kind == "huge":
        a[3], a[3, 5], b[5] = 0, np.finfo(np.float32).max, np.abs(np.tanh(b[5]))
    elif kind == "tiny":
        a *= np.float32(1e-36)
    elif kind == "large":
        a *= np.float32(1e36)
        b *= np.float32(0.1)
    text = program(fallback_starts_at)
    place = directory / f"{kind}-{fallback_starts_at}"
    place.mkdir()
    got = InterpreterExecutor().load(text, None, place).run({"a": a, "b": b})["y"]
    with np.errstate(all="ignore"):
        want = a.astype(np.float64) @ b.astype(np.float64)
        scale = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
        same = (np.isnan(got) == np.isnan(want)).all() and (np.isinf(got) == np.isinf(want)).all()
        good = np.isfinite(want)
        right = same and (np.abs(got - want)[good] <= 2e-6 * scale[good] + 1e-44).all()
    return "right" if right else "wrong"


for case in sys.argv[2:]:
    kind, start = case.split(":")
    print(case, verdict(kind, float(start)))
"""

#: kind of number : where the fallback's sums start, and what that product is then.
CASES = {
    "inf:0": "right", "nan:0": "right", "huge:0": "right", "tiny:0": "right", "large:0": "right",
    "plain:0": "right",
    # only numbers that do not split are computed again
    "tiny:7": "wrong", "plain:7": "right",
}  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """`right` or `wrong` per case, from one process with Triton's interpreter in it."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path_factory.mktemp("split")), *CASES],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.parametrize("case", CASES)
def test_numbers_that_do_not_split_are_computed_in_full(case: str, told: dict[str, str]) -> None:
    """A fallback that starts its sums at 7 shows whether it ran."""
    assert told[case] == CASES[case]

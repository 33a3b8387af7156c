"""float32 products split into bfloat16: numbers that do not split are computed in full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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

kind, fallback_starts_at, directory = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
sizes = {"M": 65, "N": 66, "K": 70}
task = find_task("matmul")
made = Generator(task, backend_named("triton"), Target.parse("triton:sm_90"),
                 workload=Workload(name="w", role="user", sizes=sizes))
(option,) = [o for o in made.options(made.kernels[0]) if o.parameters == {
    "TILE_M": 64, "TILE_N": 64, "TILE_K": 32, "WARPS": 4, "STAGES": 2, "GROUP": 8, "SPLIT": True}]
program = made.chosen([option]).program(made.workload)
(source,) = program.sources
head, second = source.body.split("if strange != 0:")
second = second.replace("tl.zeros((TILE_M, TILE_N), tl.float32)",
                        f"tl.full((TILE_M, TILE_N), {fallback_starts_at}, tl.float32)")
source = source.model_copy(update={"body": f"{head}if strange != 0:{second}"})
program = program.model_copy(update={"sources": (source,)})
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
got = InterpreterExecutor().load(program, None, directory).run({"a": a, "b": b})["y"]
with np.errstate(all="ignore"):
    want = a.astype(np.float64) @ b.astype(np.float64)
    scale = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    same = (np.isnan(got) == np.isnan(want)).all() and (np.isinf(got) == np.isinf(want)).all()
    good = np.isfinite(want)
    right = same and (np.abs(got - want)[good] <= 2e-6 * scale[good] + 1e-44).all()
print("right" if right else "wrong")
"""


def run(kind: str, fallback_starts_at: float, tmp_path: Path) -> str:
    """`right` or `wrong`, of a product of `kind`; the fallback's sums start at a number."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, str(fallback_starts_at), str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.parametrize("kind", ["inf", "nan", "huge", "tiny", "large", "plain"])
def test_every_kind_of_number_is_multiplied_right(kind: str, tmp_path: Path) -> None:
    assert run(kind, 0.0, tmp_path) == "right"


@pytest.mark.parametrize(("kind", "told"), [("tiny", "wrong"), ("plain", "right")])
def test_only_numbers_that_do_not_split_are_computed_again(
    kind: str, told: str, tmp_path: Path
) -> None:
    """A fallback that starts its sums at 7 shows whether it ran."""
    assert run(kind, 7.0, tmp_path) == told

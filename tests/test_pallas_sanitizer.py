"""Pallas' race detector, unwritten values and accesses outside, on small kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from test_pallas_toolchain import row_sum, softmax

from mkgen_pallas.sanitizer import race_told

RUN = """
import json, sys, tempfile
from pathlib import Path
import numpy as np
from mkgen.errors import MkgenError
from mkgen.program import Program
from mkgen_pallas.sanitizer import SanitizerExecutor
told = []
for file in sys.argv[1:]:
    program = Program.model_validate_json(Path(file).read_text())
    shape = program.buffer("x").shape
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    executor = SanitizerExecutor()
    try:
        assert executor.accepts(program) is None
        y = executor.load(program, None, Path(tempfile.mkdtemp())).run({"x": x})["y"]
        told.append(f"nothing, and {np.isnan(y).sum()} NaN")
    except MkgenError as error:
        told.append(f"{type(error).__name__}: {error}")
print(json.dumps(told))
"""

CASES = {
    "clean": softmax("v5e", rows=24),
    "clean accumulation": row_sum(),
    "wrong parallel": row_sum(('"parallel", "arbitrary"', '"parallel", "parallel"')),
    "one block for all": softmax("v5e", ("lambda i: (i, 0)", "lambda i: (0, 0)")),
    "unwritten": softmax("v5e", ("y[...] = weight", "_ = weight"), rows=24),
    "clean after findings": softmax("v5e", rows=24),
}


def test_planted_faults_are_found_and_nothing_else(tmp_path: Path) -> None:
    files = []
    for i, program in enumerate(CASES.values()):
        files.append(str(tmp_path / f"{i}.json"))
        Path(files[-1]).write_text(program.model_dump_json())
    done = subprocess.run(
        [sys.executable, "-c", RUN, *files], capture_output=True, text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = dict(zip(CASES, json.loads(done.stdout.splitlines()[-1]), strict=True))
    for name in ("clean", "clean accumulation", "clean after findings"):
        assert told[name] == "nothing, and 0 NaN", told
    assert told["one block for all"].startswith("SanitizerError: softmax.py: race: one core writes")
    assert told["wrong parallel"].startswith("SanitizerError: row_sum.py: unwritten: y depends on")
    assert told["unwritten"].startswith("SanitizerError: softmax.py: unwritten: y depends on"), told


def test_what_the_detector_prints() -> None:
    printed = """RACE DETECTED
  read of (0, 7, 0, 0)[(slice(0, 8, 1),)] from 0, 1, /tmp/x/row_sum.py:31:4 (row_sum_kernel)
  clock: [1 2]
  write of (0, 7, 0, 0)[(slice(0, 8, 1),)] from 0, 0 /tmp/x/row_sum.py:33:4 (row_sum_kernel)
  clock: [3 0]
"""
    assert race_told(printed, "row_sum.py") == (
        "row_sum.py line 31: race: one core reads at line 31 what another writes at line 33, and "
        "nothing orders them: is every axis that is declared parallel really so?"
    )
    assert race_told("", "row_sum.py") == ""
    assert race_told("RACE DETECTED otherwise", "k.py") == "k.py: race: RACE DETECTED otherwise"

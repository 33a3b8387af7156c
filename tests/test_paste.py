"""The paste test: what is shipped, unmodified, through the vendors' own compilers and headers.

nvcc and hipcc run the package's own build.sh, so the host launcher is compiled and linked too.
`make paste-tools` installs them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from compiler_wrappers import hipcc, nvcc
from package_support import package

from mkgen.codegen.candidate import TemplateCandidate
from mkgen.errors import UnsupportedError
from mkgen.program import Program
from mkgen_simt import ocloc
from mkgen_simt.elf import read_elf
from tests.matrix_support import TASKS, best_by_estimate, generator

GET = "make paste-tools installs it"
#: Backend target, the variable of build.sh, and how the library shows its arch.
BUILT = {
    "cuda": ("cuda:sm_90", "NVCC", rb"sm_90\b"),
    "hip": ("hip:gfx90a", "HIPCC", rb"hipv?4?-amdgcn-amd-amdhsa-+gfx90a"),
}
OCLOC_TARGET = "opencl:pvc"


def candidate(task: str, target: str) -> tuple[TemplateCandidate, Program]:
    made = generator(task, target)
    try:
        best = best_by_estimate(made)
    except UnsupportedError as error:
        pytest.fail(f"{task} has no program for {target}: {error}")
    return best, best.program(made.workload)


@pytest.mark.acceptance
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("backend", BUILT)
def test_the_packages_build_script_builds(task: str, backend: str, tmp_path: Path) -> None:
    target, variable, arch = BUILT[backend]
    compiler = nvcc() if backend == "cuda" else hipcc()
    if compiler is None:
        pytest.skip(f"no {variable.lower()}: {GET}, or set MKGEN_{variable}")
    best, _ = candidate(task, target)
    directory, program, *_ = package(best, tmp_path / "packages")
    done = subprocess.run(
        ["bash", "build.sh"],
        cwd=directory,
        env={**os.environ, variable: str(compiler)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    data = (directory / f"build/lib{program.launcher}.so").read_bytes()
    assert program.launcher in read_elf(data).functions
    assert re.search(arch, data), f"the library holds no code for {target}"
    for launch in program.launches:
        assert launch.entry.encode() in data


@pytest.mark.acceptance
@pytest.mark.parametrize("task", TASKS)
def test_ocloc_takes_the_kernels(task: str, tmp_path: Path) -> None:
    if shutil.which("ocloc") is None:
        pytest.skip(f"no ocloc: {ocloc.REMEDY}")
    best, program = candidate(task, OCLOC_TARGET)
    source = program.sources[0]
    (tmp_path / source.name).write_text(source.text)
    tool = ocloc.find_ocloc(tmp_path)
    assert tool is not None
    flags = best.backend.flags[program.precision]
    built = ocloc.build(tool, tmp_path / source.name, "pvc", flags, spirv=False)
    assert {launch.entry for launch in program.launches} <= set(built.resources)

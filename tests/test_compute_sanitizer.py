"""What compute-sanitizer prints (as NVIDIA documents it), and how it is called."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from sanitizer_programs import faulty_program

from mkgen.errors import ExecutionError, MissingError, SanitizerError
from mkgen_cuda import compute_sanitizer
from mkgen_cuda.compute_sanitizer import ComputeSanitizerExecutor, SanitizedOnDevice
from mkgen_cuda.sanitizer_log import finding, why_not

MEMCHECK = """========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at k(const float *, float *)+0x70 in kernel.cu:12
=========     by thread (63,0,0) in block (1,0,0)
=========     Access to 0x7f1ae9400200 is out of bounds
=========     and is 1 bytes after the nearest allocation at 0x7f1ae9400000 of size 512 bytes
=========     Saved host backtrace up to driver entry point at kernel launch time
=========         Host Frame: launch in driver.py:55 [0x2c3d]
=========
========= Program hit unspecified launch failure (error 719) due to "unspecified launch failure"
========= ERROR SUMMARY: 2 errors
"""
SHARED = """========= COMPUTE-SANITIZER
========= Invalid __shared__ read of size 4 bytes
=========     at 0x1e0 in /tmp/load-x/kernel.cu:31:k
=========     by thread (0,0,0) in block (0,0,0)
=========     Address 0xfffffffc is out of bounds
========= ERROR SUMMARY: 1 error
"""
RACECHECK = """========= COMPUTE-SANITIZER
========= Error: Race reported between Write access at k+0xd0 in kernel.cu:22
=========     and Read access at k+0x90 in kernel.cu:21 [4 hazards]
=========
========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)
"""
INITCHECK = """========= COMPUTE-SANITIZER
========= Uninitialized __global__ memory read of size 4 bytes
=========     at k+0x40 in kernel.cu:9
=========     by thread (65,0,0) in block (17,0,0)
=========     Access to 0x7f68bd400104
=========
========= ERROR SUMMARY: 1 error
"""
SYNCCHECK = """========= COMPUTE-SANITIZER
========= Barrier error detected. Divergent thread(s) in block.
=========     at __syncthreads()+0x30 in kernel.cu:44
=========     by thread (32,0,0) in block (0,0,0)
=========     Device Frame:k(float *)+0x70 in kernel.cu:44
========= ERROR SUMMARY: 1 error
"""
CLEAN = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"
CLEAN_RACES = """========= COMPUTE-SANITIZER
========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)
"""
OTHER = "========= COMPUTE-SANITIZER\n========= Something new\n========= ERROR SUMMARY: 3 errors\n"


@pytest.mark.parametrize(("log", "told"), [
    (MEMCHECK, "kernel.cu line 12: out of bounds: writes 4 bytes of global memory, 1 bytes after "
     "an allocation of 512; kernel k, block (1,0,0), thread (63,0,0)"),
    (SHARED, "kernel.cu line 31: out of bounds: reads 4 bytes of shared memory; kernel k, block "
     "(0,0,0), thread (0,0,0)"),
    (RACECHECK, "kernel.cu line 22: race: Error: Race reported between Write access at k+0xd0 in "
     "kernel.cu:22 and Read access at k+0x90 in kernel.cu:21 [4 hazards]; kernel k"),
    (INITCHECK, "kernel.cu line 9: unwritten: reads 4 bytes of global memory; kernel k, block "
     "(17,0,0), thread (65,0,0)"),
    (SYNCCHECK, "kernel.cu line 44: divergent barrier: Barrier error detected. Divergent thread(s) "
     "in block.; kernel __syncthreads, block (0,0,0), thread (32,0,0)"),
    (CLEAN, ""), (CLEAN_RACES, ""), ("", ""),
])  # fmt: skip
def test_logs_become_one_line(log: str, told: str) -> None:
    assert finding(log, "kernel.cu") == told


def test_an_error_of_an_unknown_kind_is_a_finding_too() -> None:
    assert "counts 3 errors" in finding(OTHER, "kernel.cu")


def test_a_tool_that_cannot_work_here_is_no_finding() -> None:
    log = "========= COMPUTE-SANITIZER\n========= Error: Device not supported. Please refer to …\n"
    assert why_not(log).startswith("Error: Device not supported")
    assert why_not(MEMCHECK) == ""


def _tool(tmp_path: Path, log: str, code: int) -> SanitizedOnDevice:
    """A stand-in for the tool that checks its arguments and prints `log`."""
    script = tmp_path / "compute-sanitizer"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nassert sys.argv[1] == '--tool', sys.argv\n"
        f"print({log!r})\nsys.exit({code})\n"
    )
    script.chmod(0o755)
    return SanitizedOnDevice(faulty_program("cuda"), tmp_path / "k.cubin", script, tmp_path)


def test_findings_of_a_run_and_its_other_ends(tmp_path: Path) -> None:
    inputs = {"x": np.zeros(129, np.float32), "count": np.zeros(1, np.int32)}
    with pytest.raises(SanitizerError, match=r"kernel.cu line 22: race.*\(racecheck\)"):
        _tool(tmp_path, RACECHECK, 86).run(inputs, "racecheck")
    with pytest.raises(ExecutionError, match="ended with code 3: .*gone"):
        _tool(tmp_path, "gone", 3).run(inputs, "memcheck")
    with pytest.raises(MissingError, match="Device not supported"):
        _tool(tmp_path, "Error: Device not supported", 1).run(inputs)
    with pytest.raises(ExecutionError, match="Did you mean 'racecheck'"):
        _tool(tmp_path, "", 0).run(inputs, "racechecks")


def test_without_the_tool_the_executor_declines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(compute_sanitizer, "toolkit_roots", lambda: [tmp_path])
    reason = ComputeSanitizerExecutor().accepts(faulty_program("cuda"))
    assert reason is not None and "compute-sanitizer was not found" in reason

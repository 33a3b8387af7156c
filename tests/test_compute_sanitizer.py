"""What compute-sanitizer prints (as NVIDIA documents it), and how it is called."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from sanitizer_programs import faulty_program

from mkgen.codegen.registry import backend_named
from mkgen.errors import ExecutionError, MissingError, SanitizerError
from mkgen.record import EvidenceKind
from mkgen_cuda import compute_sanitizer, sanitizer_command
from mkgen_cuda.compute_sanitizer import ComputeSanitizerExecutor, SanitizedOnDevice
from mkgen_cuda.sanitizer_command import PADDING, TOOLS, find_tool
from mkgen_cuda.sanitizer_log import counted, finding, why_not

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
FAR = """========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at k(const float *, float *, int *)+0x1250 in kernel.cu:93
=========     by thread (0,0,0) in block (0,0,0)
=========     Access to 0x7f1b29400000 is out of bounds
=========     and is 1,073,741,313 bytes after the nearest allocation at 0x7f of size 1,024 bytes
========= ERROR SUMMARY: 1,024 errors
"""
WARNED = RACECHECK.replace("Error: Race", "WARNING: Race")
HOST = """========= COMPUTE-SANITIZER
========= Host API uninitialized memory access at host access to 0x7fb15ba00000 of size 512 bytes
=========     Uninitialized access at 0x7fb15ba00000 on access by cudaMemcpy source
========= ERROR SUMMARY: 1 error
"""
LOST = """========= COMPUTE-SANITIZER
========= Error: No attachable process found. compute-sanitizer timed-out.
========= Default timeout can be adjusted with --launch-timeout. Awaiting target completion.
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
    (FAR, "kernel.cu line 93: out of bounds: writes 4 bytes of global memory, 1,073,741,313 bytes "
     "after an allocation of 1,024; kernel k, block (0,0,0), thread (0,0,0)"),
    (WARNED, "kernel.cu line 22: race: WARNING: Race reported between Write access at k+0xd0 in "
     "kernel.cu:22 and Read access at k+0x90 in kernel.cu:21 [4 hazards]; kernel k"),
    (HOST, "kernel.cu: unwritten output: Host API uninitialized memory access at host access to "
     "0x7fb15ba00000 of size 512 bytes"),
    (CLEAN, ""), (CLEAN_RACES, ""), ("", ""),
])  # fmt: skip
def test_logs_become_one_line(log: str, told: str) -> None:
    assert finding(log, "kernel.cu") == told


def test_an_error_of_an_unknown_kind_is_a_finding_too() -> None:
    assert "counts 3 errors" in finding(OTHER, "kernel.cu")


def test_a_tool_that_cannot_work_here_is_no_finding() -> None:
    log = "========= COMPUTE-SANITIZER\n========= Error: Device not supported. Please refer to …\n"
    assert why_not(log).startswith("Error: Device not supported")
    assert why_not(LOST).startswith("Error: No attachable process found")
    assert why_not(MEMCHECK) == ""
    assert why_not("ModuleNotFoundError: Unable to find cupy\n" + MEMCHECK) == "", "not the tool's"


@pytest.mark.parametrize(
    ("log", "count"),
    [(CLEAN, 0), (CLEAN_RACES, 0), (FAR, 1024), (RACECHECK, 1), (LOST, None), ("", None)],
)
def test_the_count_at_the_end_is_what_silence_stands_on(log: str, count: int | None) -> None:
    assert counted(log) == count


def _tool(tmp_path: Path, log: str, code: int) -> SanitizedOnDevice:
    """A stand-in for the tool that checks its arguments and prints `log`."""
    script = tmp_path / "compute-sanitizer"
    script.write_text(
        f"#!{sys.executable}\nimport shutil, sys\nassert sys.argv[1] == '--tool', sys.argv\n"
        f"place = sys.argv[-3]\nshutil.copytree(place + '/inputs', place + '/outputs')\n"
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
        _tool(tmp_path, "========= Error: Device not supported", 1).run(inputs)
    with pytest.raises(ExecutionError, match="Did you mean 'racecheck'"):
        _tool(tmp_path, "", 0).run(inputs, "racechecks")


def test_a_run_that_the_tool_has_seen_to_its_end_is_clean(tmp_path: Path) -> None:
    inputs = {"x": np.ones(129, np.float32)}
    found = _tool(tmp_path, CLEAN, 0).run(inputs, "memcheck")
    assert np.array_equal(found["x"], inputs["x"])
    assert "0 errors" in (tmp_path / "memcheck.log").read_text()


@pytest.mark.parametrize("log", [LOST, "", "========= COMPUTE-SANITIZER\n"])
def test_silence_of_a_tool_that_lost_its_process_proves_nothing(log: str, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="does not work here") as caught:
        _tool(tmp_path, log, 0).run({"x": np.ones(129, np.float32)}, "memcheck")
    assert any(log.strip() in note for note in caught.value.__notes__), "all that it printed"


def test_what_is_watched_is_the_interpreter_itself_with_room_behind_every_buffer(
    tmp_path: Path,
) -> None:
    command = _tool(tmp_path, CLEAN, 0).command("memcheck")
    assert command[command.index("--padding") + 1] == str(PADDING) and PADDING % 16 == 0
    python = command.index(sys.executable)
    assert command[python + 1 : python + 4] == ["-P", "-m", "mkgen_cuda.sanitized_run"]
    for tool in TOOLS:
        words = _tool(tmp_path, CLEAN, 0).command(tool)
        assert words[words.index("--target-processes") + 1] == "all" and "--kill" in words
        assert ("--padding" in words) == (tool == "memcheck"), "the others do not know it"
    assert _tool(tmp_path, CLEAN, 0).command("initcheck")[-1] == "unwritten"


def test_the_tool_of_a_wheel_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sanitizer_command, "toolkit_roots", lambda: [tmp_path / "none"])
    monkeypatch.setattr(sanitizer_command, "site_roots", lambda: [tmp_path])
    tool = tmp_path / "nvidia/cu13/compute-sanitizer/compute-sanitizer"
    tool.parent.mkdir(parents=True)
    tool.touch()
    assert find_tool() == tool


def test_where_sockets_are_refused_the_executor_declines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(family: int) -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(compute_sanitizer, "find_tool", lambda: tmp_path)
    monkeypatch.setattr(socket, "socket", refused)
    reason = ComputeSanitizerExecutor().accepts(faulty_program("cuda"))
    assert reason is not None and "needs a socket" in reason


def test_it_is_offered_on_a_device_only_and_last() -> None:
    offered = backend_named("cuda").executors()
    assert isinstance(offered[-1], ComputeSanitizerExecutor)
    assert (offered[-1].role, offered[-1].kind) == ("device", EvidenceKind.SANITIZED)


def test_without_the_tool_the_executor_declines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sanitizer_command, "toolkit_roots", lambda: [tmp_path])
    monkeypatch.setattr(sanitizer_command, "site_roots", lambda: [tmp_path])
    reason = ComputeSanitizerExecutor().accepts(faulty_program("cuda"))
    assert reason is not None and "compute-sanitizer was not found" in reason

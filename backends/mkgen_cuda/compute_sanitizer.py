"""CUDA text on an NVIDIA GPU under compute-sanitizer: a driver process for each of its tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np

from mkgen.codegen.backend import Arrays, Loaded
from mkgen.errors import ExecutionError, MissingError, SanitizerError, nearest
from mkgen.evaluate.arrays import load_arrays, save_arrays
from mkgen.program import Artifact, Program
from mkgen.record import EvidenceKind
from mkgen_cuda.device import CudaDeviceExecutor
from mkgen_cuda.sanitizer_log import finding, why_not
from mkgen_simt.cuda_headers import CUDA_HEADERS, toolkit_roots
from mkgen_simt.nvrtc import compile_cubin

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
#: Of the driver process when the tool has found something.
FOUND = 86
_REMEDY = "install CUDA's compute-sanitizer, or put it on PATH"


def find_tool() -> Path:
    """compute-sanitizer of PATH or of a CUDA toolkit. MissingError without one."""
    on_path = shutil.which("compute-sanitizer")
    if on_path is not None:
        return Path(on_path)
    for root in toolkit_roots():
        tool = root / "bin" / "compute-sanitizer"
        if tool.is_file():
            return tool
    raise MissingError(f"compute-sanitizer was not found; {_REMEDY}")


class ComputeSanitizerExecutor(CudaDeviceExecutor):
    """The text compiled with line numbers, run once under each tool."""

    name: ClassVar[str] = "compute-sanitizer"
    kind: ClassVar[EvidenceKind] = EvidenceKind.SANITIZED
    needs_artifact: ClassVar[bool] = False
    schedules: ClassVar[tuple[str, ...]] = TOOLS
    cannot_see: ClassVar[tuple[str, ...]] = (
        "races through global memory, and between blocks (racecheck looks at shared memory)",
        "unwritten shared memory (initcheck looks at global memory)",
        "accesses that leave one buffer and land inside another",
        "the artifact that ships: this is the same text compiled again, with line numbers",
    )

    def accepts(self, program: Program) -> str | None:
        """See Executor.accepts."""
        try:
            find_tool()
        except MissingError as error:
            return str(error)
        return super().accepts(program)

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """Compiles the text with line numbers into `directory`."""
        line_numbers = ("--generate-line-info",)
        made = compile_cubin(program, directory, CUDA_HEADERS, self.remedy, line_numbers)
        return SanitizedOnDevice(program, Path(made.path), find_tool(), directory)


class SanitizedOnDevice(Loaded):
    """A cubin, run by a process of its own under compute-sanitizer."""

    def __init__(self, program: Program, cubin: Path, tool: Path, directory: Path) -> None:
        """Runs `cubin`, made of `program`, by `tool`; files go to `directory`."""
        self._program = program
        self._cubin = cubin
        self._tool = tool
        self._directory = directory

    def command(self, tool: str) -> list[str]:
        """What is run; `tool` is one of TOOLS."""
        driver = [sys.executable, "-m", "mkgen_cuda.sanitized_run", str(self._directory)]
        return [
            str(self._tool), "--tool", tool, "--error-exitcode", str(FOUND), "--print-limit", "1",
            *driver, str(self._cubin), "unwritten" if tool == "initcheck" else "poisoned",
        ]  # fmt: skip

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """See Loaded.run; `schedule` names the tool. SanitizerError for what it finds."""
        tool = schedule or TOOLS[0]
        if tool not in TOOLS:
            raise ExecutionError(
                f"no tool {schedule!r} of compute-sanitizer.{nearest(tool, TOOLS)}"
            )
        outputs = self._directory / "outputs"
        shutil.rmtree(outputs, ignore_errors=True)
        save_arrays(self._directory / "inputs", dict(inputs))
        (self._directory / "program.json").write_text(self._program.model_dump_json())
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        done = subprocess.run(
            self.command(tool), capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        log = done.stdout + done.stderr
        reason = why_not(log)
        if reason:
            raise MissingError(f"compute-sanitizer does not work here: {reason}")
        found = finding(log, self._program.sources[0].name)
        if found:
            raise SanitizerError(f"{found} ({tool})")
        if done.returncode != 0 or not outputs.is_dir():
            told = log.strip()[-800:]
            raise ExecutionError(f"{tool}: the run ended with code {done.returncode}: {told}")
        return load_arrays(outputs)

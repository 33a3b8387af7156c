"""CUDA text on an NVIDIA GPU under compute-sanitizer: a driver process for each of its tools.

The tool preloads a library of its own into that process, and talks to it by pipes in TMPDIR and by
an abstract socket. Both are there in a worker that has namespaces of its own; where sockets are
filtered instead, it sees nothing, which is told as such.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np

from mkgen.codegen.backend import Arrays, Loaded
from mkgen.errors import ExecutionError, MissingError, MkgenError, SanitizerError, nearest
from mkgen.evaluate.arrays import load_arrays, save_arrays
from mkgen.program import Artifact, Program
from mkgen.record import EvidenceKind
from mkgen_cuda.device import CudaDeviceExecutor
from mkgen_cuda.sanitizer_command import TOOLS, find_tool, watching
from mkgen_cuda.sanitizer_log import counted, finding, why_not
from mkgen_simt.cuda_headers import CUDA_HEADERS
from mkgen_simt.nvrtc import compile_cubin

_RUN_SECONDS = 600.0


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
            socket.socket(socket.AF_UNIX).close()
        except MissingError as error:
            return str(error)
        except PermissionError:
            return (
                "compute-sanitizer needs a socket, which this confinement refuses; mkgen doctor "
                "says what a better one needs"
            )
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
        filling = "unwritten" if tool == "initcheck" else "poisoned"
        driver = ["mkgen_cuda.sanitized_run", str(self._directory), str(self._cubin), filling]
        return watching(self._tool, tool, [sys.executable, "-P", "-m", *driver])

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """See Loaded.run; `schedule` names the tool. SanitizerError for what it finds.

        MissingError where the tool cannot work here. What it printed is a note of every error.
        """
        tool = schedule or TOOLS[0]
        if tool not in TOOLS:
            raise ExecutionError(
                f"no tool {schedule!r} of compute-sanitizer.{nearest(tool, TOOLS)}"
            )
        outputs = self._directory / "outputs"
        shutil.rmtree(outputs, ignore_errors=True)
        save_arrays(self._directory / "inputs", dict(inputs))
        (self._directory / "program.json").write_text(self._program.model_dump_json())
        code, log = self._watched(tool)
        (self._directory / f"{tool}.log").write_text(log)
        try:
            self._judge(tool, code, log, wrote=outputs.is_dir())
        except MkgenError as error:
            error.add_note(log)
            raise
        return load_arrays(outputs)

    def _watched(self, tool: str) -> tuple[int, str]:
        """Exit status of the tool, and everything that was printed."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        try:
            done = subprocess.run(
                self.command(tool), capture_output=True, text=True, errors="replace",
                stdin=subprocess.DEVNULL, env=environment, timeout=_RUN_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ExecutionError(f"{tool} did not end in {error.timeout:.0f} s") from error
        return done.returncode, done.stdout + done.stderr

    def _judge(self, tool: str, code: int, log: str, *, wrote: bool) -> None:
        """Raises what the run means, unless it ended well and the tool has seen all of it."""
        reason = why_not(log)
        if reason:
            raise MissingError(f"compute-sanitizer does not work here: {reason}")
        found = finding(log, self._program.sources[0].name)
        if found:
            raise SanitizerError(f"{found} ({tool})")
        if code != 0 or not wrote:
            told = log.strip()[-800:]
            raise ExecutionError(f"{tool}: the run ended with code {code}: {told}")
        if counted(log) is None:
            raise MissingError(f"compute-sanitizer does not work here: {tool} counts nothing")

"""Where compute-sanitizer is, and how it is told to watch a process."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from mkgen.errors import MissingError
from mkgen_simt.cuda_headers import site_roots, toolkit_roots

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
#: Exit status when the tool has found something.
FOUND = 86
#: Behind every allocation, so that the byte after a buffer never belongs to another one: the
#: driver puts buffers of a round size right behind each other.
PADDING = 256
_ATTACH_SECONDS = 60
_NAME = "compute-sanitizer"
_REMEDY = "pip install nvidia-cuda-sanitizer-api, or put a CUDA toolkit's on PATH"


def find_tool() -> Path:
    """compute-sanitizer of PATH, of a CUDA toolkit or of NVIDIA's wheel. MissingError without."""
    on_path = shutil.which(_NAME)
    if on_path is not None:
        return Path(on_path)
    places = [root / "bin" / _NAME for root in toolkit_roots()]
    for root in site_roots():
        places += sorted(root.glob(f"nvidia/cu*/{_NAME}/{_NAME}"))
    tool = next((path for path in places if path.is_file()), None)
    if tool is None:
        raise MissingError(f"{_NAME} was not found; {_REMEDY}")
    return tool


def watching(binary: Path, tool: str, command: Sequence[str]) -> list[str]:
    """`command` under `tool`, one of TOOLS.

    Errors of the API are for `command` to tell: they are no findings. A process that cannot be
    reached is ended; it would go on unwatched otherwise.
    """
    memory = ["--padding", str(PADDING), "--report-api-errors", "no"]
    return [
        str(binary), "--tool", tool, *(memory if tool == "memcheck" else []),
        "--error-exitcode", str(FOUND), "--print-limit", "10", "--show-backtrace", "device",
        "--target-processes", "all", "--launch-timeout", str(_ATTACH_SECONDS), "--kill",
        *command,
    ]  # fmt: skip

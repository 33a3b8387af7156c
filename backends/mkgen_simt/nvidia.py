"""What NVIDIA's driver alone can tell or undo, whichever library launches the kernels."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
from typing import Any

#: CUlimit of the driver API (cuda.h): the part of the L2 that may hold persisting lines.
_PERSISTING_L2_CACHE_SIZE = 6
_PERIOD_MILLISECONDS = 100


@functools.cache
def driver() -> Any:
    """libcuda; None where there is none."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


def reset_persisting_cache() -> None:
    """Takes back the part of the L2 that the current context has set aside, and its lines.

    A program that had its inputs kept there would not be slowed down by a flush. Drivers before
    CUDA 11 have neither the limit nor the call, and nothing to take back.
    """
    library = driver()
    if library is None or not hasattr(library, "cuCtxResetPersistingL2Cache"):
        return
    library.cuCtxSetLimit(ctypes.c_int(_PERSISTING_L2_CACHE_SIZE), ctypes.c_size_t(0))
    library.cuCtxResetPersistingL2Cache()


def clock_command() -> tuple[str, ...]:
    """nvidia-smi that prints the clock of GPU 0's multiprocessors, as this process sees GPU 0."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    query = ("--query-gpu=clocks.sm", "--format=csv,noheader,nounits")
    return (tool, "-i", visible or "0", *query, "-lms", str(_PERIOD_MILLISECONDS))

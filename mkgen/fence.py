"""Memory between pages that nobody may touch: a read past the end ends the process, seen or not."""

from __future__ import annotations

import ctypes
import mmap
import os

import numpy as np

#: Bytes on each side that fault; only address space, no memory.
REACH = 1 << 20
#: The runs at a faulting fence: a read beside a buffer ends the process, though nothing uses it.
FENCED = "fenced"
_PROT_NONE = 0


def fenced_bytes(size: int, alignment: int) -> np.ndarray:
    """`size` zero bytes, uint8, at a multiple of `alignment`; right behind them lies the fence.

    What alignment leaves between the two, less than `alignment` bytes, can be read unseen.
    OSError when the pages cannot be protected.
    """
    page = mmap.PAGESIZE
    inner = max(1, -(-size // page)) * page
    region = mmap.mmap(-1, REACH + inner + REACH)
    whole = np.frombuffer(region, np.uint8)
    base = whole.ctypes.data
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start in (base, base + REACH + inner):
        if libc.mprotect(start, REACH, _PROT_NONE) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"mprotect: {os.strerror(code)}")
    # the array keeps the mapping alive; unmapping it takes the fence away too
    first = REACH + (inner - size) // alignment * alignment
    return whole[first : first + size]

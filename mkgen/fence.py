"""What lies beside a buffer that a judged kernel uses: words nobody computes, pages that fault."""

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
#: NaN with a payload no computation gives, and its bytes; for other dtypes a byte repeated, which
#: makes integers that are wild indices.
_GUARD_WORDS = {
    "float64": (0x7FFA5A5A5A5A5A5A, 8), "float32": (0x7FE5A5A5, 4),
    "float16": (0x7F5A, 2), "bfloat16": (0x7FDA, 2),
}  # fmt: skip
_GUARD_BYTE = 0x7D
#: Different words of a dtype.
GUARD_WORDS = 32


def guard_word(dtype: str, number: int) -> bytes:
    """What guard zones beside a buffer of `dtype` repeat; another for each of 32 numbers.

    Buffers must differ: a kernel that reads past the end of one and writes what it read past the
    end of another (a NaN keeps its payload, also through arithmetic) would leave equal zones as
    they were.
    """
    word, width = _GUARD_WORDS.get(dtype, (_GUARD_BYTE, 1))
    return (word ^ number % GUARD_WORDS).to_bytes(width, "little")


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

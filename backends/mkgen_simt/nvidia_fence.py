"""Memory of an NVIDIA GPU in front of addresses that fault: an access behind it ends the run.

The driver's virtual memory (cuMemAddressReserve, cuMemMap: CUDA Driver API, "Virtual Memory
Management") maps whole pages, of 2 MiB today, and leaves what is reserved behind them unmapped.
"""

from __future__ import annotations

import ctypes
import warnings
from typing import Any

from mkgen.errors import ExecutionError
from mkgen.fence import REACH
from mkgen_simt.nvidia import driver

_PINNED, _ON_DEVICE, _READ_AND_WRITE, _MINIMUM = 1, 1, 3, 0


class _Location(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("id", ctypes.c_int))


class _Properties(ctypes.Structure):
    """CUmemAllocationProp."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("handle_types", ctypes.c_int),
        ("location", _Location),
        ("handle_data", ctypes.c_void_p),
        ("flags", ctypes.c_ubyte * 8),
    )


class _Access(ctypes.Structure):
    """CUmemAccessDesc."""

    _fields_ = (("location", _Location), ("flags", ctypes.c_int))


def _call(function: str, *arguments: Any) -> None:
    library = driver()
    if library is None or not hasattr(library, function):
        raise ExecutionError(f"fenced memory needs {function} of NVIDIA's driver, which is missing")
    code = getattr(library, function)(*arguments)
    if code != 0:
        raise ExecutionError(f"{function} of NVIDIA's driver failed with error {code}")


class FencedMemory:
    """Bytes of GPU 0 whose end is the fence, but for less than `alignment` bytes.

    PyTorch and CuPy take it for an array of uint8 (CUDA array interface), which keeps it alive.
    """

    def __init__(self, size: int, alignment: int) -> None:
        """`size` bytes at a multiple of `alignment`. ExecutionError."""
        self._base, self._handle, self._mapped = ctypes.c_uint64(), ctypes.c_uint64(), False
        where = _Location(_ON_DEVICE, 0)
        wanted = _Properties(type=_PINNED, location=where)
        page = ctypes.c_size_t()
        _call("cuMemGetAllocationGranularity", ctypes.byref(page), ctypes.byref(wanted), _MINIMUM)
        self._inner = max(1, -(-size // page.value)) * page.value
        self._reserved = self._inner + -(-REACH // page.value) * page.value
        zero, reserved = ctypes.c_uint64(0), ctypes.c_size_t(self._reserved)
        inner = ctypes.c_size_t(self._inner)
        _call("cuMemAddressReserve", ctypes.byref(self._base), reserved, ctypes.c_size_t(0), zero,
              zero)  # fmt: skip
        _call("cuMemCreate", ctypes.byref(self._handle), inner, ctypes.byref(wanted), zero)
        _call("cuMemMap", self._base, inner, ctypes.c_size_t(0), self._handle, zero)
        self._mapped = True
        access = _Access(where, _READ_AND_WRITE)
        _call("cuMemSetAccess", self._base, inner, ctypes.byref(access), ctypes.c_size_t(1))
        self.size = size
        self.address = self._base.value + (self._inner - size) // alignment * alignment

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": (self.size,), "typestr": "|u1", "data": (self.address, False), "version": 3,
            "strides": None,
        }  # fmt: skip

    def free(self) -> None:
        """Gives the memory back; nothing may use it any more. ExecutionError."""
        base, handle, mapped = self._base.value, self._handle.value, self._mapped
        self._base, self._handle, self._mapped = ctypes.c_uint64(), ctypes.c_uint64(), False
        if mapped:
            _call("cuMemUnmap", ctypes.c_uint64(base), ctypes.c_size_t(self._inner))
        if handle:
            _call("cuMemRelease", ctypes.c_uint64(handle))
        if base:
            _call("cuMemAddressFree", ctypes.c_uint64(base), ctypes.c_size_t(self._reserved))

    def __del__(self) -> None:
        """After a fault the driver refuses every call: the process is about to end."""
        try:
            self.free()
        except ExecutionError as error:
            warnings.warn(str(error), ResourceWarning, stacklevel=2)

"""The device compiler libsycl-jit through ctypes: SYCL text in, SPIR-V out, no host compiler.

`compileSYCL` is what the SYCL runtime itself calls for `create_kernel_bundle_from_source`. Its
declaration is in sycl-jit/jit-compiler/include/RTC.h of github.com/intel/llvm; the structures below
repeat those of that header. The interface is internal: callers check the release first, the result
must begin with the SPIR-V magic (spirv.py), and all of it runs in a worker process.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from mkgen.errors import CompileError
from mkgen_sycl.rtc import first_error

_FORMAT_SPIRV = 2
_SUCCESS = 0


class _InMemoryFile(Structure):
    _fields_ = (("path", c_char_p), ("contents", c_char_p))


class _Span(Structure):
    """`View<T>` and `DynArray<T>`: a pointer and a number of elements."""

    _fields_ = (("data", c_void_p), ("size", c_size_t))


class _Binary(Structure):
    _fields_ = (
        ("format", c_uint32),
        ("address_bits", c_size_t),
        ("start", c_void_p),
        ("size", c_size_t),
    )


class _Image(Structure):
    _fields_ = (("binary", _Binary), ("symbols", _Span), ("properties", _Span))


class _Result(Structure):
    _fields_ = (
        ("error", c_int),
        ("images", _Span),
        ("options", c_char_p),
        ("ir", _Span),
        ("log", c_char_p),
        # Room for members that a later release may append.
        ("reserved", c_size_t * 32),
    )


@cache
def _library(path: Path) -> Any:
    library = ctypes.CDLL(str(path))
    # The result has a destructor, so the caller passes the place for it as a hidden first argument.
    library.compileSYCL.restype = None
    library.compileSYCL.argtypes = (
        POINTER(_Result), _InMemoryFile, _Span, _Span, _Span, c_bool, c_uint32,
    )  # fmt: skip
    library.destroyBinary.restype = None
    library.destroyBinary.argtypes = (c_void_p,)
    return library


def compile_sycl(
    library: Path, name: str, text: str, options: tuple[str, ...]
) -> tuple[bytes, str]:
    """Compiles `text`, called `name` in messages; returns SPIR-V and the log.

    CompileError carries the compiler's log, which gives the line of each error.
    """
    jit = _library(library)
    arguments = (c_char_p * max(1, len(options)))(*(o.encode() for o in options))
    result = _Result()
    jit.compileSYCL(
        ctypes.byref(result),
        _InMemoryFile(name.encode(), text.encode()),
        _Span(None, 0),
        _Span(ctypes.cast(arguments, c_void_p), len(options)),
        _Span(None, 0),
        False,
        _FORMAT_SPIRV,
    )
    log = (result.log or b"").decode(errors="replace").strip()
    if result.error != _SUCCESS:
        raise CompileError(f"the SYCL compiler refused {name}: {first_error(log)}", log)
    images = ctypes.cast(result.images.data, POINTER(_Image))
    binaries = [images[i].binary for i in range(result.images.size)]
    try:
        if len(binaries) != 1:
            raise CompileError(
                f"{name} gave {len(binaries)} device images; mkgen needs one: compile kernels that "
                "need different device features from different files",
                log,
            )
        # The few hundred bytes of the result itself stay allocated: only its C++ destructor,
        # which the library does not export, could free them.
        return ctypes.string_at(binaries[0].start, binaries[0].size), log
    finally:
        for binary in binaries:
            jit.destroyBinary(binary.start)

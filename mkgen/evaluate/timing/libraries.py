"""Kernels by name: those of libraries and of PyTorch, and those of whoever wrote the candidate.

Names say who compiled a kernel, not what is in it: a wrapper that renames a library's kernels is
not seen here. It is a check against calling a library and nothing else.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping

from mkgen.codegen.registry import libraries
from mkgen.evaluate.torch_names import KERNELS

_COPIES = ("Memcpy", "Memset", "memcpy", "memset", "CopyBuffer", "FillBuffer")
_BEFORE = re.compile(r"^(?:void|static|__global__|const|\s)+")


@functools.cache
def _known() -> Mapping[str, tuple[str, ...]]:
    """What names of kernels begin with, by library."""
    vendors = {library.name: library.kernels for library in libraries()}
    return {**KERNELS, **vendors, "copies": _COPIES}


def library_of(kernel: str) -> str:
    """Whose library `kernel` is from; empty for one that is in none that is known."""
    name = _BEFORE.sub("", kernel)
    for library, prefixes in _known().items():
        if name.startswith(prefixes):
            return library
    return ""


def own_kernels(kernels: Iterable[str]) -> tuple[str, ...]:
    """Those that no known library brings."""
    return tuple(name for name in kernels if not library_of(name))


def refusal(kernels: Iterable[str]) -> str:
    """Why what launched `kernels` is no kernel of its own; empty when it is, or nobody saw."""
    seen = tuple(kernels)
    if not seen or own_kernels(seen):
        return ""
    names = ", ".join(dict.fromkeys(library_of(name) for name in seen))
    return f"every kernel it launched is a library's ({names}): it computes nothing itself"

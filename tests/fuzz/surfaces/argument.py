"""Constructor arguments of tasks, written over their sizes: `(K, 1, 1)`, `'zeros'`, `DIM // 2`."""

from __future__ import annotations

import contextlib

from mkgen.errors import UserError
from mkgen.task import argument

from ..surface import Surface, text_of

_SIZES = {"N": 7, "K": 3, "DIM": 64}


def target(data: bytes) -> None:
    with contextlib.suppress(UserError):
        argument(text_of(data), _SIZES)


def seeds() -> list[bytes]:
    return [b"DIM // 2", b"(K, 1, 1)", b"'zeros'", b"[N, [K], ()]", b"None", b"{1: 2}", b"-1.5",
    b"{'a'}",
            b"(N, 'x', 1e-5, True)", b"b'x'", b"1+2j", b"ceil_div(N, K)"]  # fmt: skip


SURFACE = Surface("argument", target, seeds, "expression", longest=4096)

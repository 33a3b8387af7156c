"""`--target backend:arch@device`, and a name that nothing has."""

from __future__ import annotations

import contextlib
from functools import cache
from unittest.mock import patch

from pydantic import ValidationError

from mkgen.cli.request import resolve_target
from mkgen.codegen import registry
from mkgen.errors import MissingError, UserError
from mkgen.target import Target

from ..surface import Surface, text_of


def target(data: bytes) -> None:
    text = text_of(data)
    try:
        read = Target.parse(text)
        assert Target.parse(str(read)) == read
    except ValidationError:
        pass
    # which plug-ins are installed is looked up on disk each time, whatever the text is
    with patch.object(registry, "_entries", _entries):
        for named in ((text, None), (None, text)):
            with contextlib.suppress(UserError, MissingError):
                resolve_target(*named)


_entries = cache(registry._entries)


def seeds() -> list[bytes]:
    return [b"hip:gfx942", b"cuda:sm_90a@h200", b"triton:gfx942@mi300x", b"pallas:tpu-v5e", b"hip",
            b"sycl:pvc@max1550", b"hip:gfx942@nosuch", b"opencl:cpu", b"a:b@c", b""]  # fmt: skip


SURFACE = Surface(
    "target", target, seeds, "line", (b"hip", b"cuda", b":", b"@", b"gfx942", b"sm_90a", b"h200",
    b"cpu")
)  # fmt: skip

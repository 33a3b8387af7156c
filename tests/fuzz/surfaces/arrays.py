"""Arrays that a child wrote: `index.json`, then, after three NUL bytes, the content of `0.bin`."""

from __future__ import annotations

import json

from mkgen.errors import ExecutionError
from mkgen.evaluate.arrays import load_arrays

from ..surface import Surface, scratch

_SEPARATOR = b"\0\0\0"


def target(data: bytes) -> None:
    directory = scratch() / "arrays"
    directory.mkdir(exist_ok=True)
    index, _, content = data.partition(_SEPARATOR)
    (directory / "index.json").write_bytes(index)
    (directory / "0.bin").write_bytes(content)
    try:
        loaded = load_arrays(directory)
    except ExecutionError:
        return
    assert sum(array.nbytes for array in loaded.values()) <= 2 * len(content) + 8


def seeds() -> list[bytes]:
    def made(*entries: tuple[str, str, list[int]]) -> bytes:
        index = [{"name": n, "dtype": d, "shape": s, "file": "0.bin"} for n, d, s in entries]
        return json.dumps(index).encode() + _SEPARATOR

    return [
        made(("y", "float32", [2, 2])) + bytes(16),
        made(("y", "bfloat16", [3])) + bytes(6),
        made(("y", "int64", [])) + bytes(8),
        made(("y", "bool", [0])),
        made(("y", "uint8", [5]), ("z", "int8", [5])) + b"12345",
        made(("y", "float32", [1 << 40])) + bytes(4),
    ]


SURFACE = Surface(
    "arrays", target, seeds, "jsonl",
    (b"name", b"dtype", b"shape", b"file", b"float32", b"bool", b"0.bin", b"index.json", b"..",
    _SEPARATOR),
)  # fmt: skip

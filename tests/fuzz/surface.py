"""A surface: one parser, how bytes reach it, and what real inputs of it look like."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]

Form = Literal["expression", "line", "toml", "python", "json", "jsonl", "native"]


@dataclass(frozen=True)
class Surface:
    """One parser. `target` returns for what is read and for what is refused in mkgen's words."""

    name: str
    target: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    """Real inputs, and small ones that reach every branch."""
    form: Form
    """Which mutations keep the structure of an input."""
    tokens: tuple[bytes, ...] = ()
    """Words that the parser knows."""
    longest: int = 1 << 14
    """Bytes of an input, amplified ones aside."""


@cache
def scratch() -> Path:
    """A directory of this process, in memory where there is a tmpfs; removed at its end."""
    memory = Path("/dev/shm")
    usual = "TMPDIR" in os.environ or not memory.is_dir()
    made = Path(tempfile.mkdtemp(prefix="mkgen-fuzz-", dir=None if usual else memory))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def text_of(data: bytes) -> str:
    """`data` as a string, lone surrogates and all: what no file can hold, an argument may."""
    return data.decode("utf-8", "surrogateescape")


def files(pattern: str, most: int = 1 << 20) -> list[bytes]:
    """The files of the repository that match `pattern`, the smallest first, up to `most` bytes."""
    found = sorted((p.read_bytes() for p in ROOT.glob(pattern)), key=len)
    kept, total = [], 0
    for data in found:
        total += len(data)
        if total > most:
            break
        kept.append(data)
    return kept

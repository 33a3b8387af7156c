"""Putting a package in its place: whole, or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mkgen.errors import UserError
from mkgen.files import sync_directory
from mkgen.reading import json_value

T = TypeVar("T")

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def check_place(directory: Path) -> None:
    """UserError when a package cannot be written to `directory`, or would replace what is not ours.

    Leaves nothing behind; directories above it are made only when the package is written.
    """
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise UserError(f"--out {directory} is not a directory; choose another place")
    if directory.is_dir() and any(directory.iterdir()) and not is_package(directory):
        raise UserError(
            f"--out {directory} holds files that are not a package of mkgen, and they would be "
            "lost; choose another place, or remove them"
        )
    parent = directory.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise UserError(f"--out {directory}: {parent} is not a directory")
    try:
        with tempfile.TemporaryDirectory(prefix=_prefix(directory), dir=parent):
            pass
    except OSError as error:
        raise UserError(
            f"--out {directory}: cannot write in {parent}: {error.strerror}; choose another place"
        ) from error


def is_package(directory: Path) -> bool:
    """Whether `directory` holds a package that mkgen wrote."""
    try:
        data = json_value((directory / "record.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and {"schema_version", "mkgen_version", "task"} <= data.keys()


def place(directory: Path, write: Callable[[Path], T]) -> T:
    """What `write(temporary directory)` gives; that directory then takes the place of `directory`.

    A crash leaves the old package or the new one; `kill -9` may leave a hidden sibling as well,
    which the next call removes. UserError when the place cannot be written.
    """
    directory = directory.absolute()
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(directory)
        making = Path(tempfile.mkdtemp(prefix=_prefix(directory), dir=directory.parent))
    except OSError as error:
        raise UserError(f"--out {directory}: {error.strerror}; choose another place") from error
    try:
        inner = making / directory.name
        inner.mkdir()
        result = write(inner)
        check_place(directory)  # someone may have put other files there meanwhile
        if directory.exists():
            _exchange(inner, directory)
        else:
            os.rename(inner, directory)
        sync_directory(directory.parent)
        return result
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _prefix(directory: Path) -> str:
    return f".{directory.name}.making-{os.getpid()}-"


def _remove_stale(directory: Path) -> None:
    pattern = re.compile(rf"\.{re.escape(directory.name)}\.making-(\d+)-.*")
    for entry in directory.parent.iterdir():
        match = pattern.fullmatch(entry.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            shutil.rmtree(entry, ignore_errors=True)


def _exchange(new: Path, old: Path) -> None:
    """Makes `new` and `old` change names at once, where the file system can."""
    with contextlib.suppress(AttributeError):
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        done = rename(
            _AT_FDCWD,
            os.fsencode(new),
            _AT_FDCWD,
            os.fsencode(old),
            ctypes.c_uint(_RENAME_EXCHANGE),
        )
        if done == 0:
            return
    aside = new.with_name(f"{new.name}.old")
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except OSError:
        os.rename(aside, old)
        raise

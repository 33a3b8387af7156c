"""Which records were made here: the seals of all that this user's mkgen has written.

A record in a file can be copied from elsewhere, or changed and sealed again. It was seen here only
if its seal is in this list, which lies outside runs and packages, and outside what a candidate can
write to. Without the list nothing is lost but that: records then count as `reported`, and are made
again where they are needed.
"""

from __future__ import annotations

import os
from pathlib import Path

from mkgen.errors import UserError
from mkgen.files import LineFile


def state_directory() -> Path:
    """`MKGEN_STATE`, else the user's XDG state directory."""
    chosen = os.environ.get("MKGEN_STATE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "mkgen"


class Seen:
    """The list, read again when another process has added to it."""

    def __init__(self, directory: Path | None = None) -> None:
        self.path = (directory or state_directory()) / "seen"
        self._known: set[bytes] = set()
        self._size = 0

    def add(self, seal: str) -> None:
        """Notes `seal`, unless it is empty; when this returns, it is on the disk. UserError."""
        if not seal or seal in self:
            return
        try:
            file = LineFile(self.path)
            try:
                whole = file.append(seal)
            finally:
                file.close()
        except OSError as error:
            raise UserError(
                f"{self.path}: {error.strerror}; records made here are listed there: let "
                "MKGEN_STATE name a directory that can be written"
            ) from error
        if not whole:
            raise UserError(f"{self.path}: the disk is full; free some space")

    def __contains__(self, seal: str) -> bool:
        self._read()
        return bool(seal) and seal.encode() in self._known

    def _read(self) -> None:
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._size:
                    self._known, self._size = set(), 0
                file.seek(self._size)
                new = file.read()
        except OSError:  # none yet, or not ours to read: then nothing is known to be seen here
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._known.update(whole.split(b"\n")[:-1])
        self._size += len(whole)

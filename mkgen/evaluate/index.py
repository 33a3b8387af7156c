"""An index of a run's lines: where each one is, and what it is of. Made of the lines alone.

It is a cache: deleting it loses nothing. On every use it is brought to the end of the file; where
the file does not begin with what was indexed, or the index is not as it was written, it is made
anew. Where the directory cannot be written it lives in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from mkgen.files import whole_lines

SUFFIX = ".index.sqlite"
_VERSION = 1
_PATIENCE = 60.0
#: What the system says where the index is well and only cannot be used.
_BUSY = ("locked", "readonly", "unable to open", "disk is full", "disk I/O")
#: What a damaged index ends in: SQLite's own errors, and values of another kind than were written.
_NOT_AS_WRITTEN = (sqlite3.DatabaseError, ValueError, TypeError, OverflowError)


@dataclass(frozen=True)
class Row:
    """One line of the file. Columns are empty where `problem` says why it is no record."""

    start: int
    length: int
    """Bytes, without the newline."""
    number: int
    """From 1."""
    key: str = ""
    seal: str = ""
    task: str = ""
    task_hash: str = ""
    target: str = ""
    precision: str = ""
    candidate: str = ""
    origin: str = ""
    standing: str = ""
    """As the line says; whether it was seen here is not the index's to know."""
    status: str = ""
    kinds: str = ""
    """Of its evidence, in order, with spaces between."""
    basis: str = ""
    problem: str = ""


_COLUMNS = tuple(field.name for field in fields(Row))


class Index:
    """Beside the file `path`: `records.index.sqlite` of a run. Safe for several processes."""

    def __init__(self, path: Path, read: Callable[[bytes], dict[str, Any]]) -> None:
        """`read` gives the columns of a line, or its `problem`."""
        self._path = path
        self._read = read
        self._place: Path | None = path.with_suffix(SUFFIX)
        self._base: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        # of the file's first `_size` bytes, which this process has seen
        self._hash = hashlib.sha256()
        self._size = 0

    def rows(self, **wanted: str) -> list[Row]:
        """The lines whose columns are as `wanted`, oldest first."""
        unknown = wanted.keys() - set(_COLUMNS)
        if unknown:
            raise KeyError(", ".join(sorted(unknown)))
        condition = " AND ".join(f"{name} = ?" for name in wanted) or "1"
        query = f"SELECT {', '.join(_COLUMNS)} FROM lines WHERE {condition} ORDER BY start"
        with self._lock:
            found = self._attempt(query, tuple(wanted.values()))
        return [Row(*row) for row in found]

    def close(self) -> None:
        """Closes the database; a later use opens it again."""
        with self._lock:
            if self._base is not None:
                self._base.close()
            self._base = None

    def _attempt(self, query: str, values: tuple[str, ...]) -> list[Any]:
        """The answer of an index that agrees with the file."""
        for _ in range(2):
            try:
                base = self._open()
                self._update(base)
                return base.execute(query, values).fetchall()
            except _NOT_AS_WRITTEN as error:
                self._drop(any(word in str(error) for word in _BUSY))
        self._drop(True)
        base = self._open()
        self._update(base)
        return base.execute(query, values).fetchall()

    def _drop(self, cannot_be_used: bool) -> None:
        """Gives the index up: removes a broken one, leaves one that only cannot be used."""
        if self._base is not None:
            self._base.close()
            self._base = None
        if cannot_be_used:
            self._place = None
        elif self._place is not None:
            for suffix in ("", "-journal"):
                with contextlib.suppress(OSError):
                    self._place.with_name(f"{self._place.name}{suffix}").unlink()

    def _open(self) -> sqlite3.Connection:
        if self._base is not None:
            return self._base
        self._base = base = sqlite3.connect(
            self._place or ":memory:",
            timeout=_PATIENCE, isolation_level=None, check_same_thread=False,
        )  # fmt: skip
        # SQLite's own journal keeps it whole when we are killed. A power cut may break it, which
        # is seen below; waiting for the disk would cost more than making it again.
        base.execute("PRAGMA synchronous = OFF")
        (version,) = base.execute("PRAGMA user_version").fetchone()
        if version != _VERSION:
            base.execute("BEGIN IMMEDIATE")
            for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
                base.execute(f'DROP TABLE "{name}"')
            columns = ", ".join(f"{name} NOT NULL" for name in _COLUMNS if name != "start")
            base.execute(f"CREATE TABLE lines (start INTEGER PRIMARY KEY, {columns})")
            base.execute("CREATE INDEX by_task ON lines (task_hash, target)")
            base.execute("CREATE TABLE covered (size NOT NULL, sha NOT NULL, rows_sha NOT NULL)")
            base.execute(f"PRAGMA user_version = {_VERSION}")
            base.execute("COMMIT")
        if not _as_written(base):
            raise sqlite3.DatabaseError("its rows are not those that were written")
        return base

    def _update(self, base: sqlite3.Connection) -> None:
        """Adds the lines that are not in it; all of them where it is of another file."""
        base.execute("BEGIN IMMEDIATE")
        try:
            size, sha, rows_sha = _covered(base)
            with self._path.open("rb") as file:
                if not self._begins_with(file, size, sha):
                    base.execute("DELETE FROM lines")
                    size, rows_sha = 0, _NO_ROWS
                    self._begins_with(file, 0, "")
                file.seek(size)
                new = file.read()
            new = new[: new.rfind(b"\n") + 1]
            if new or size == 0:
                (number,) = base.execute("SELECT count(*) FROM lines").fetchone()
                rows = list(self._made(new, size, number))
                base.executemany(
                    f"INSERT INTO lines VALUES ({', '.join('?' * len(_COLUMNS))})", rows
                )
                self._hash.update(new)
                self._size += len(new)
                base.execute("DELETE FROM covered")
                values = (self._size, self._hash.hexdigest(), _rows_sha(rows, rows_sha))
                base.execute("INSERT INTO covered VALUES (?, ?, ?)", values)
            base.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                base.execute("ROLLBACK")
            raise

    def _begins_with(self, file: Any, size: int, sha: str) -> bool:
        """Whether the first `size` bytes of `file` have the hash `sha`; they are what is seen then.

        What this process has hashed already is not read again.
        """
        if size < self._size or not size:
            self._hash, self._size = hashlib.sha256(), 0
        if os.fstat(file.fileno()).st_size < size:
            return False
        file.seek(self._size)
        while self._size < size:
            data = file.read(min(1 << 20, size - self._size))
            if not data:
                return False
            self._hash.update(data)
            self._size += len(data)
        return size == 0 or self._hash.hexdigest() == sha

    def _made(self, new: bytes, start: int, number: int) -> Iterable[tuple[Any, ...]]:
        for line in whole_lines(new):
            number += 1
            yield astuple(Row(start, len(line), number, **self._read(line)))
            start += len(line) + 1


_NO_ROWS = "0" * 64


def _covered(base: sqlite3.Connection) -> tuple[int, str, str]:
    found = base.execute("SELECT size, sha, rows_sha FROM covered").fetchone()
    return found if found is not None else (0, "", _NO_ROWS)


def _rows_sha(rows: Iterable[tuple[Any, ...]], begun: str = _NO_ROWS) -> str:
    """A hash of a set of rows that grows with it: the exclusive or of their SHA-256."""
    total = int(begun, 16)
    for row in rows:
        total ^= int(hashlib.sha256(repr(row).encode()).hexdigest(), 16)
    return f"{total:064x}"


def _as_written(base: sqlite3.Connection) -> bool:
    rows = base.execute(f"SELECT {', '.join(_COLUMNS)} FROM lines")
    return _rows_sha(rows) == _covered(base)[2]

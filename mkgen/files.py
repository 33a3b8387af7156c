"""Writing files so that a crash leaves the old content or the new, never half of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def atomic_write(path: Path, data: str | bytes) -> None:
    """Writes `data` to `path`: a temporary file beside it, fsync, rename, directory fsync."""
    content = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes renames inside the directory `path` survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_inside(directory: Path, name: str) -> bool:
    """Whether `name`, which anyone may have written, is the path of something in `directory`."""
    parts = Path(name).parts
    usual = (
        len(parts) > 0 and ".." not in parts and "\0" not in name and not Path(name).is_absolute()
    )
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # too long; links in a ring
        return usual and (directory / name).resolve().is_relative_to(directory.resolve())
    return False


class LineFile:
    """Lines that are only ever appended; several processes may do so. OSError as the system's."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with self._locked():
            self._repair()

    def append(self, text: str) -> bool:
        """Adds a line; when this returns True, it is on the disk. False: the disk is full."""
        line = text.encode() + b"\n"
        with self._locked():
            # another process may have died in the middle of its line since we opened
            self._repair()
            if os.write(self._handle, line) != len(line):
                self._repair()
                return False
            os.fsync(self._handle)
            return True

    def lines(self) -> list[bytes]:
        """Every whole line, oldest first."""
        with self._locked():
            data = os.pread(self._handle, os.fstat(self._handle).st_size, 0)
        return whole_lines(data)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._handle)

    def _repair(self) -> None:
        """Cuts off a last line without its newline: its process died while it wrote."""
        size = end = os.fstat(self._handle).st_size
        while end:
            start = max(0, end - (1 << 16))
            found = os.pread(self._handle, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end != size:
            os.ftruncate(self._handle, end)
            os.fsync(self._handle)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)


def whole_lines(data: bytes) -> list[bytes]:
    """The lines in `data`; what follows the last newline is torn, or empty."""
    return data.split(b"\n")[:-1]


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Waits until no other process holds `path`, and holds it; let go however this one ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _umask() -> int:
    # mkstemp makes files private; a report should have the mode any other new file has. Reading
    # the mask through /proc is the only way that does not change it for other threads meanwhile.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022

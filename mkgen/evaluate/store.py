"""Records on disk: one line each, only ever appended; what was stored survives any crash."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from mkgen.document import canonical_json
from mkgen.errors import UserError
from mkgen.program import PrecisionClass
from mkgen.record import Record, Status
from mkgen.target import Target

#: Ends that another machine, or a mended mkgen, may change: `--resume` tries them again.
OPEN_ENDS = (Status.INTERNAL_ERROR, Status.NO_TOOLCHAIN, Status.EVIDENCE_MISSING)


def record_key(record: Record) -> str:
    """What distinguishes candidates of one task and target: the variant, else the text."""
    return record.variant.key if record.variant else record.text_sha


class RunStore:
    """`records.jsonl` of a run directory. Several processes may append to it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "records.jsonl"
        self._handle = os.open(
            self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666
        )
        with self._locked():
            self._repair()

    def append(self, record: Record) -> None:
        """Stores `record`; when this returns, it is on the disk."""
        line = (canonical_json(record.model_dump(mode="json")) + "\n").encode()
        with self._locked():
            # another process may have died in the middle of its line since we opened
            self._repair()
            written = os.write(self._handle, line)
            if written != len(line):
                self._repair()
                raise UserError(f"{self.path}: the disk took half a record; free some space")
            os.fsync(self._handle)

    def records(self) -> list[Record]:
        """Every record, oldest first. UserError names the line that is none."""
        with self._locked():
            data = os.pread(self._handle, os.fstat(self._handle).st_size, 0)
        lines = data.split(b"\n")[:-1]  # what follows the last newline is torn, or empty
        return [self._parse(line, number) for number, line in enumerate(lines, 1)]

    def finished(
        self,
        task_hash: str,
        target: Target,
        key: str,
        precision: PrecisionClass = PrecisionClass.STRICT,
    ) -> Record | None:
        """The last record of this candidate that need not be made again, if there is one."""
        wanted = (task_hash, target, key, precision)
        for record in reversed(self.records()):
            found = (record.task_hash, record.target, record_key(record), record.precision)
            if found == wanted and record.status not in OPEN_ENDS:
                return record
        return None

    def close(self) -> None:
        """Closes the file."""
        os.close(self._handle)

    def _parse(self, line: bytes, number: int) -> Record:
        try:
            return Record.model_validate_json(line)
        except ValidationError as error:
            raise UserError(
                f"{self.path}, line {number} is not a record: {error.errors()[0]['msg']}; "
                "take the line out, or use the mkgen that wrote it"
            ) from error

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

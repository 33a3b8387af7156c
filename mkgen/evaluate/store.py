"""Records on disk: one line each, only ever appended; what was stored survives any crash.

The lines are the truth. What stands beside them (`index`) is made of them, and made again when it
is not theirs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mkgen.document import canonical_json
from mkgen.errors import UserError
from mkgen.evaluate.index import Index, Row
from mkgen.evaluate.seen import Seen
from mkgen.files import LineFile, whole_lines
from mkgen.program import PrecisionClass
from mkgen.reading import json_value, read_text
from mkgen.record import Record, Status
from mkgen.sealing import SEAL
from mkgen.target import Target

#: Ends that another machine, or a mended mkgen, may change: `--resume` tries them again.
OPEN_ENDS = (Status.INTERNAL_ERROR, Status.NO_TOOLCHAIN, Status.EVIDENCE_MISSING)


#: A record of a network of many kernels has a megabyte.
_MAX_RECORD_BYTES = 64 << 20


def record_key(record: Record) -> str:
    """What distinguishes candidates of one task and target: the variant, else the text."""
    return record.variant.key if record.variant else record.text_sha


@dataclass(frozen=True)
class Parsed:
    """A record as it was read."""

    record: Record
    seal: str
    """Empty where it has none."""


def parse(text: str | bytes) -> Parsed:
    """The record in `text`. ValueError, in one line, says why there is none."""
    try:
        document = json_value(text)
        if not isinstance(document, dict):
            raise ValueError("it is no object")
        if not _is_text(document):
            raise ValueError("a string of it holds half a character (a lone surrogate)")
        record = Record.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{where}: {message}" if where else message) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return Parsed(record, str(document.get(SEAL, "")))


def _is_text(document: dict[str, Any]) -> bool:
    """Whether every string in it can be written as UTF-8; JSON's escapes can spell others."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def judged(parsed: Parsed, seen: Seen) -> Record:
    """The record, `reported` unless it was made here and is as it was made."""
    record = parsed.record
    if record.standing == "seen" and parsed.seal not in seen:
        return record.model_copy(update={"standing": "reported"})
    return record


def read_file(path: Path, what: str) -> Record:
    """The one record in the file `path`, a package's record.json, which `what` names. UserError."""
    text = read_text(path, what, _MAX_RECORD_BYTES)
    try:
        return judged(parse(text.encode()), Seen())
    except ValueError as error:
        raise UserError(f"{path} is not a record of this mkgen: {error}") from error


def read_lines(path: Path, seen: Seen | None = None) -> list[Record]:
    """The records of the run `path` (its .jsonl), each key once, oldest first; a torn last line is
    left out. Reads, never repairs. UserError names the line that is none.
    """
    known = seen or Seen()

    def each() -> Iterator[Record]:
        for number, line in enumerate(whole_lines(path.read_bytes()), 1):
            try:
                yield judged(parse(line), known)
            except ValueError as error:
                raise _no_record(path, number, error) from error

    return _once(each())


def _once(records: Iterable[Record]) -> list[Record]:
    """Each key once, by its last record: a run that was resumed may hold one twice."""
    found: dict[str, Record] = {}
    for record in records:
        # what was made here outlasts a copy of it from elsewhere
        old = found.get(record.key)
        if old is None or old.standing == "reported" or record.standing == "seen":
            found.pop(record.key, None)
            found[record.key] = record
    return list(found.values())


def _no_record(path: Path, number: int, error: ValueError) -> UserError:
    return UserError(
        f"{path}, line {number} is not a record: {error}; "
        "take the line out, or use the mkgen that wrote it"
    )


class Run:
    """A file of records, to be read: `records.jsonl` of a run, which others may append to."""

    def __init__(self, path: Path, seen: Seen | None = None) -> None:
        self.path = path
        self.seen = seen or Seen()
        self._index: Index | None = None

    def records(self) -> list[Record]:
        """Every record once, oldest first. UserError names the line that is none."""
        return read_lines(self.path, self.seen)

    def rows(self, **wanted: str) -> list[Row]:
        """What the index says of every line whose columns are as `wanted`, oldest first."""
        if self._index is None:
            self._index = Index(self.path, _row)
        return self._index.rows(**wanted)

    def record(self, row: Row) -> Record:
        """The record of a row. UserError when its line has changed meanwhile."""
        with self.path.open("rb") as file:
            file.seek(row.start)
            line = file.read(row.length)
        try:
            return judged(parse(line), self.seen)
        except ValueError as error:
            raise _no_record(self.path, row.number, error) from error

    def selected(self, **wanted: str) -> list[Record]:
        """Records whose columns are as `wanted`, each key once, oldest first. UserError."""
        broken = [row for row in self.rows() if row.problem]
        if broken:
            raise _no_record(self.path, broken[0].number, ValueError(broken[0].problem))
        return _once(self.record(row) for row in self.rows(**wanted))

    def finished(
        self,
        task_hash: str,
        target: Target,
        key: str,
        precision: PrecisionClass = PrecisionClass.STRICT,
    ) -> Record | None:
        """The last record of this candidate, made here, that need not be made again."""
        rows = self.rows(
            task_hash=task_hash, target=str(target), precision=precision.value, candidate=key
        )
        return self._last_finished(rows)

    def latest(
        self, task_hash: str, target: Target, precision: PrecisionClass, origin: str
    ) -> Record | None:
        """The last record made here of any candidate of this origin; None where that one is to be
        made again."""
        wanted = {"task_hash": task_hash, "target": str(target), "precision": precision.value}
        rows = [row for row in self.rows(**wanted, origin=origin) if row.seal in self.seen]
        return self._last_finished(rows[-1:])

    def _last_finished(self, rows: list[Row]) -> Record | None:
        for row in reversed(rows):
            if row.status not in OPEN_ENDS and row.seal in self.seen:
                record = self.record(row)
                if record.standing == "seen" and record.key == row.key:
                    return record
        return None

    def close(self) -> None:
        """Closes what is open."""
        if self._index is not None:
            self._index.close()


class RunStore(Run):
    """`records.jsonl` of a run directory, to be added to. Several processes may do so."""

    def __init__(self, directory: Path, seen: Seen | None = None) -> None:
        self._file = LineFile(directory / "records.jsonl")
        super().__init__(self._file.path, seen)

    def append(self, record: Record) -> None:
        """Stores `record`; when this returns, it is on the disk."""
        document = record.stored()
        if record.standing == "seen":
            self.seen.add(document[SEAL])  # first: a line that is there is known
        if not self._file.append(canonical_json(document)):
            raise UserError(f"{self.path}: the disk took half a record; free some space")

    def close(self) -> None:
        """Closes what is open."""
        super().close()
        self._file.close()


def _row(line: bytes) -> dict[str, Any]:
    """The columns of the index for one line; `problem` says why it is no record."""
    try:
        parsed = parse(line)
    except ValueError as error:
        return {"problem": str(error)}
    record = parsed.record
    return {
        "key": record.key,
        "seal": parsed.seal,
        "task": record.task,
        "task_hash": record.task_hash,
        "target": str(record.target),
        "precision": record.precision.value,
        "candidate": record_key(record),
        "origin": record.origin,
        "standing": record.standing,
        "status": record.status.value,
        "kinds": " ".join(dict.fromkeys(e.kind.value for e in record.evidence)),
        "basis": record.basis,
    }

"""Records on disk: one line each, only ever appended; what was stored survives any crash."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from mkgen.document import canonical_json
from mkgen.errors import UserError
from mkgen.files import LineFile
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
        self._file = LineFile(directory / "records.jsonl")
        self.path = self._file.path

    def append(self, record: Record) -> None:
        """Stores `record`; when this returns, it is on the disk."""
        if not self._file.append(canonical_json(record.model_dump(mode="json"))):
            raise UserError(f"{self.path}: the disk took half a record; free some space")

    def records(self) -> list[Record]:
        """Every record, oldest first. UserError names the line that is none."""
        return [self._parse(line, number) for number, line in enumerate(self._file.lines(), 1)]

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
        self._file.close()

    def _parse(self, line: bytes, number: int) -> Record:
        try:
            return Record.model_validate_json(line)
        except ValidationError as error:
            raise UserError(
                f"{self.path}, line {number} is not a record: {error.errors()[0]['msg']}; "
                "take the line out, or use the mkgen that wrote it"
            ) from error

"""From records to the exit code of a command."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mkgen.errors import EXIT_FAILED, EXIT_INPUT, EXIT_INTERNAL, EXIT_MISSING
from mkgen.record import EvidenceKind, Record, Status

#: Which of several codes wins.
_PRECEDENCE = (EXIT_INTERNAL, EXIT_INPUT, EXIT_FAILED, EXIT_MISSING)
_CODES = {
    Status.INTERNAL_ERROR: EXIT_INTERNAL,
    Status.BAD_TASK: EXIT_INPUT,
    Status.UNSUPPORTED: EXIT_INPUT,
    Status.NO_TOOLCHAIN: EXIT_MISSING,
    Status.EVIDENCE_MISSING: EXIT_MISSING,
}


def exit_code(records: Iterable[Record], require: Collection[EvidenceKind] = ()) -> int:
    """0 when every record passes with the required evidence; no record at all is not a pass.

    What is only reported is no pass here, whatever it says.
    """
    codes = {_code(record, require) for record in records}
    if not codes:
        return EXIT_MISSING
    return next((code for code in _PRECEDENCE if code in codes), 0)


def _code(record: Record, require: Collection[EvidenceKind]) -> int:
    if record.status is Status.PASS:
        if record.standing == "reported":
            return EXIT_MISSING
        return 0 if all(record.has(kind) for kind in require) else EXIT_MISSING
    return status_code(record.status)


def status_code(status: Status) -> int:
    """The exit code of a record that ended with `status` and lacks no evidence."""
    return 0 if status is Status.PASS else _CODES.get(status, EXIT_FAILED)

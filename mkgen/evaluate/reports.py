"""Records for other programs: JUnit XML for a CI, CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from mkgen.evaluate.store import record_key
from mkgen.files import atomic_write
from mkgen.record import Record, Status

#: Ends in which no kernel was found wrong: JUnit calls them errors, not failures.
_ERRORS = (
    Status.INTERNAL_ERROR,
    Status.BAD_TASK,
    Status.UNSUPPORTED,
    Status.NO_TOOLCHAIN,
    Status.EVIDENCE_MISSING,
)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COLUMNS = (
    "name", "task", "target", "precision", "status", "reason", "evidence", "variant", "max_abs",
    "max_rel", "budget", "share", "estimate_seconds", "seconds", "task_hash", "text_sha",
    "mkgen_version", "standing", "origin", "key",
)  # fmt: skip


def names(records: Sequence[Record]) -> list[str]:
    """`task -> target` for each; with the variant where several records share that."""
    plain = [f"{record.task} -> {record.target}" for record in records]
    count = Counter(plain)
    return [
        name if count[name] == 1 else f"{name} [{record_key(record)}]"
        for name, record in zip(plain, records, strict=True)
    ]


def write_junit(path: Path, records: Sequence[Record]) -> None:
    """Writes JUnit XML: anything but a pass is a failure or an error, never skipped."""
    failures = sum(r.status is not Status.PASS and r.status not in _ERRORS for r in records)
    errors = sum(r.status in _ERRORS or _only_reported(r) for r in records)
    counts = {
        "tests": str(len(records)),
        "failures": str(failures),
        "errors": str(errors),
        "skipped": "0",
        "time": f"{sum(r.seconds for r in records):.3f}",
    }
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "mkgen", **counts})
    for name, record in zip(names(records), records, strict=True):
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {
                "name": _clean(name),
                "classname": f"mkgen.{record.target.backend}",
                "time": f"{record.seconds:.3f}",
            },
        )
        if record.status is not Status.PASS:
            kind = "error" if record.status in _ERRORS else "failure"
            attributes = {"type": record.status.value, "message": _clean(record.reason)}
            ElementTree.SubElement(case, kind, attributes).text = _clean(_details(record))
        elif _only_reported(record):
            told = "reported to pass; not seen here"
            ElementTree.SubElement(case, "error", {"type": "reported", "message": told})
        else:
            told = ", ".join(e.kind.value for e in record.evidence)
            ElementTree.SubElement(case, "system-out").text = f"evidence: {told}"
    data = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    atomic_write(path, data + b"\n")


def write_csv(path: Path, records: Sequence[Record]) -> None:
    """Writes one row per record."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for name, record in zip(names(records), records, strict=True):
        row = {c: getattr(record, c) for c in _COLUMNS if hasattr(record, c)}
        error = record.error.model_dump() if record.error else {}
        writer.writerow(
            row
            | error
            | {
                "name": name,
                "status": record.status.value,
                "precision": record.precision.value,
                "evidence": " ".join(e.kind.value for e in record.evidence),
                "variant": record.variant.key if record.variant else "",
            }
        )
    atomic_write(path, text.getvalue())


def _only_reported(record: Record) -> bool:
    return record.status is Status.PASS and record.standing == "reported"


def _details(record: Record) -> str:
    bad = [r for r in record.results if r.status is not Status.PASS]
    return "\n".join(f"{r.workload} {r.executor} {r.schedule}: {r.message}" for r in bad)


def _clean(text: str) -> str:
    return _NOT_XML.sub("?", text)

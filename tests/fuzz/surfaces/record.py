"""Records: `record.json` of a package, `records.jsonl` of a run; read, worded, written again."""

from __future__ import annotations

import contextlib
import lzma
from functools import cache

from mkgen.cli.again import read_record
from mkgen.cli.present import record_object, record_row
from mkgen.document import canonical_json
from mkgen.errors import UserError
from mkgen.evaluate.reports import names
from mkgen.evaluate.store import RunStore, read_lines
from mkgen.evaluate.wording import describe, parameters_text
from mkgen.record import Record

from ..surface import ROOT, Surface, scratch


def target(data: bytes) -> None:
    directory = scratch() / "run"
    directory.mkdir(exist_ok=True)
    (directory / "record.json").write_bytes(data)
    (directory / "records.jsonl").write_bytes(data)
    with contextlib.suppress(UserError):
        _use(read_record(directory))
    with contextlib.suppress(UserError):
        names(read_lines(directory / "records.jsonl"))
    with contextlib.closing(RunStore(directory)) as store, contextlib.suppress(UserError):
        for record in store.records():
            store.finished(record.task_hash, record.target, "")


def _use(record: Record) -> None:
    describe(record)
    record_row(record)
    canonical_json(record_object(record))
    if record.parameter_source is not None:
        parameters_text(record.parameter_source)
    text = canonical_json(record.model_dump(mode="json"))
    assert canonical_json(Record.model_validate_json(text).model_dump(mode="json")) == text


@cache
def lines() -> tuple[bytes, ...]:
    """Real records of every length."""
    with lzma.open(ROOT / "benchmarks/results/h200_matrix.records.jsonl.xz") as file:
        found = sorted(file, key=len)
    return tuple(found[::8])


def seeds() -> list[bytes]:
    return [*lines(), b"".join(lines()[:3]), b"{}\n", b"\n\n"]


SURFACE = Surface(
    "record", target, seeds, "jsonl",
    (b"status", b"evidence", b"target", b"error", b"seconds", b"variant", b"task_document", b"pass",
    b"timing",
     b"parameters", b"artifacts", b"parameter_source", b"reason", b"sizes"),
    1 << 16,
)  # fmt: skip

"""The `record.json` of a package in which only values changed: `mkgen verify` reads all of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mkgen.cli.again import read_record, task_from
from mkgen.cli.verify import differences
from mkgen.errors import UserError
from mkgen.evaluate.cache import CompileCache
from mkgen.package.write import old_files
from mkgen.program import Program, Source, Variant
from mkgen.record import Record
from mkgen.task import Task, load_task

from ..surface import Surface, scratch
from .record import lines


@cache
def _real() -> tuple[Record, Task, Program]:
    record = Record.model_validate_json(lines()[0])
    assert record.task_document is not None
    path = scratch() / "loaded.py"
    path.write_text(record.task_document["source"])
    source = Source(name="k.hip", language="hip", head="", sizes="", body="x")
    program = Program(
        task=record.task, task_hash="", workload="bench", target=record.target, sources=(source,),
        buffers=(), steps=(), variant=Variant(templates=(), parameters={}, index_bits=32),
        launcher="l",
        constants={},
    )  # fmt: skip
    return record, load_task(path), program


def target(data: bytes) -> None:
    real, loaded, program = _real()
    directory = scratch() / "package"
    directory.mkdir(exist_ok=True)
    (directory / "record.json").write_bytes(data)
    for name in old_files(directory):
        assert (directory / name).resolve().is_relative_to(directory.resolve()), name
    _cached(data)
    try:
        record = read_record(directory)
        differences(directory, record, real, program)
        task_from(record, loaded)
    except UserError:
        pass


def _cached(data: bytes) -> None:
    """The same bytes as entries of the compile cache, which another process may have written."""
    root = scratch() / "cache"
    entry = root / "compile" / "ab" / "cd"
    entry.mkdir(parents=True, exist_ok=True)
    (entry / "entry.json").write_bytes(data)
    (Path(f"{entry}.refused.json")).write_bytes(data)
    cache_ = CompileCache(root)
    assert cache_.get("abcd") is None
    cache_.refusal("abcd")


def seeds() -> list[bytes]:
    artifact = b'{"artifact":{"path":"k.bin","sha":"0a","isa_path":null},"isa_sha":""}'
    refusal = b'{"status":"compile-failed","message":"no","log":"x"}'
    return [*lines(), artifact, refusal]


SURFACE = Surface(
    "package", target, seeds, "json",
    (b"files", b"artifacts", b"path", b"task_document", b"inputs", b"bench", b"check", b"heldout",
    b"init",
     b"source", b"shape", b"sha", b"status", b"message", b"log"),
    1 << 16,
)  # fmt: skip

"""From a record back to the task and the candidate it is of."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.codegen.registry import backend_named
from mkgen.codegen.render import parameter_prefix
from mkgen.codegen.template import Parameters, templates
from mkgen.errors import UserError, nearest
from mkgen.evaluate.protocol import Candidate
from mkgen.evaluate.store import read_file
from mkgen.foreign.native import read_native
from mkgen.foreign.native_program import native_name, source_candidate
from mkgen.record import Record
from mkgen.task import Task, Tensor, Workload, load_task


def read_record(directory: Path) -> Record:
    """The record of the package `directory`. UserError when there is none, or it is broken."""
    path = directory / "record.json" if directory.is_dir() else directory
    return read_file(path, f"{directory} is no package of mkgen: {path.name}")


def records_file(place: Path) -> Path | None:
    """The records of a run, if `place` is a run or its records.jsonl."""
    if place.is_dir():
        found = place / "records.jsonl"
        return found if found.is_file() else None
    return place if place.suffix == ".jsonl" and place.is_file() else None


def key_starts(records: Iterable[Record], start: str) -> list[Record]:
    """Those whose key begins with `start`."""
    return [record for record in records if record.key.startswith(start.lower())]


def choose(found: Sequence[Record], what: str) -> Record:
    """The only one of `found`, which `what` described. UserError names the others by key."""
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"no record for {what}; mkgen records list shows what is there")
    listed = "; ".join(f"{r.key[:12]} {r.task} -> {r.target}" for r in found[-5:])
    raise UserError(f"{len(found)} records for {what}, the last are {listed}; name one by --key")


def task_of(record: Record) -> Task:
    """The task as it was judged, its reference from the text in the record. UserError.

    Runs that text: a package is a program, verify only what you would run.
    """
    source = (record.task_document or {}).get("source")
    if not source or not isinstance(source, str):
        raise UserError(
            f"the record of {record.task} does not hold the task's source; generate it again"
        )
    with tempfile.TemporaryDirectory(prefix="mkgen-task-") as scratch:
        path = Path(scratch) / "task.py"  # the record's own name for it may be any path
        path.write_text(source)
        return task_from(record, load_task(path, record.task))


def task_from(record: Record, loaded: Task) -> Task:
    """The task as it was judged, with the reference of `loaded`; nothing of it is run. UserError.

    The rest comes from the record: --shape, --dtype and --precision may have changed it.
    """
    try:
        kept = _in_order(record.task_document or {}, loaded)
        inputs = {key: Tensor(**value) for key, value in kept["inputs"].items()}
        task = Task(**{**kept, "inputs": inputs, "reference": loaded.reference})
    except (ValidationError, TypeError, AttributeError, KeyError) as error:
        raise UserError(f"the task in the record of {record.task} is broken: {error}") from error
    if task.hash != record.task_hash:
        raise UserError(
            f"the task in the record of {record.task} has the hash {task.hash[:12]}, but "
            f"{record.task_hash[:12]} was judged: the record was changed"
        )
    return task


def _in_order(document: Mapping[str, Any], loaded: Task) -> dict[str, Any]:
    """`document` with inputs and sizes in the order of the task's file.

    A record is sorted by name, but inputs are arguments by position and sizes are printed in order.
    """
    return {
        **document,
        "inputs": _ordered(document["inputs"], loaded.inputs),
        "bench": _ordered(document["bench"], loaded.bench),
        "check": [_ordered(sizes, loaded.bench) for sizes in document["check"]],
        "heldout": [_ordered(sizes, loaded.bench) for sizes in document["heldout"]],
    }


def _ordered(values: Mapping[str, Any], like: Iterable[str]) -> dict[str, Any]:
    return {key: values[key] for key in dict.fromkeys((*like, *values)) if key in values}


def judged_again(record: Record, package: Path | None) -> tuple[Backend, Workload, Candidate]:
    """The backend, the full size and the candidate that `record` is of. UserError.

    A text that no template made is in the package, as its author wrote it; a run holds none.
    """
    if record.origin != "source":
        generator, candidate = candidate_of(record)
        return generator.backend, generator.workload, candidate
    if package is None:
        raise UserError(
            f"the text of this kernel for {record.task} is not in its run: evaluate the file "
            "again with mkgen eval --source, or verify its package"
        )
    task, backend = task_of(record), backend_named(record.target.backend)
    native = read_native(package / native_name(record.task, backend))
    told = record.variant.parameters if record.variant else {}
    if native.sha[:16] != told.get("file"):
        raise UserError(f"{package / native.name} is not the text that its record is of")
    made = source_candidate(
        task, backend, record.target, native, record.precision,
        allow_library=bool(told.get("library")),
    )  # fmt: skip
    own = {name: told[name] for name in native.head.parameters if name in told}
    return backend, task.workloads()[0], replace(made, parameters=own)


def candidate_of(record: Record) -> tuple[Generator, TemplateCandidate]:
    """The generator and the candidate with the record's templates and parameters. UserError."""
    return candidate_for(record, task_of(record))


def candidate_for(record: Record, task: Task) -> tuple[Generator, TemplateCandidate]:
    """As `candidate_of`, for the task that `record` is known to be of."""
    if record.variant is None:
        raise UserError(f"the record of {record.task} has no variant: nothing was generated")
    backend = backend_named(record.target.backend)
    if record.target.arch not in backend.archs:
        hint = nearest(record.target.arch, backend.archs)
        raise UserError(f"backend {backend.name} has no arch {record.target.arch!r} now.{hint}")
    generator = Generator(task, backend, record.target, record.precision)
    known = {t.name: t for t in templates()}
    missing = [name for name in record.variant.templates if name not in known]
    if missing or len(record.variant.templates) != len(generator.kernels):
        what = f"no template {', '.join(missing)}" if missing else "other kernels"
        raise UserError(
            f"this mkgen has {what} for {record.task}; the package was made by mkgen "
            f"{record.mkgen_version}, use that one or generate it again"
        )
    chosen = tuple(known[name] for name in record.variant.templates)
    per_kernel: list[Parameters] = []
    for kernel, template in zip(generator.kernels, chosen, strict=True):
        prefix = parameter_prefix(generator.kernels, kernel)
        own = {
            k.removeprefix(prefix): v
            for k, v in record.variant.parameters.items()
            if k.startswith(prefix)
        }
        per_kernel.append(_ordered(own, template.spec.parameters))  # they are printed in order
    return generator, generator.candidate(chosen, per_kernel)

"""`mkgen records`: what a run holds, what came from elsewhere, and whether it is whole."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mkgen.cli import options
from mkgen.cli.again import choose, key_starts, records_file
from mkgen.cli.present import emit, record_object, say, status_text, table
from mkgen.cli.show import show_record
from mkgen.codegen.registry import backends
from mkgen.document import canonical_json
from mkgen.errors import EXIT_FAILED, UserError
from mkgen.evaluate.claims import disputed
from mkgen.evaluate.index import Row
from mkgen.evaluate.store import Run, RunStore, parse, read_lines
from mkgen.files import atomic_write, whole_lines
from mkgen.record import Record, Status
from mkgen.target import Target

_COLUMNS = ("key", "task", "target", "status", "evidence", "origin", "reason")
_KEY_DIGITS = 12
_LATEST = "runs/latest"


@click.group("records")
def command() -> None:
    """List, show, import, export and check records.

    \b
    mkgen records list runs/latest --target hip:gfx942 --status pass
    mkgen records show 3f9c20 --run runs/latest
    mkgen records import colleague.jsonl --run runs/latest
    mkgen records check runs/latest
    mkgen records export runs/latest --dataset answers.jsonl
    """


run_option = click.option(
    "--run", default=_LATEST, show_default=True, metavar="RUN", help="A run's directory."
)
_FILTERS = options.together(
    click.option("--task", metavar="NAME", help="Of this task."),
    click.option("--target", metavar="BACKEND:ARCH[@DEVICE]", help="For this target."),
    click.option("--status", type=click.Choice([s.value for s in Status]), help="Ended so."),
    click.option("--kind", type=click.Choice(options.KINDS), help="With such evidence."),
    click.option("--origin", metavar="ORIGIN", help="template, source, module, package, …"),
)


@command.command("list")
@click.argument("run", default=_LATEST, metavar="[RUN]")
@_FILTERS
@options.json_output
def list_(
    run: str,
    task: str | None,
    target: str | None,
    status: str | None,
    kind: str | None,
    origin: str | None,
    as_json: bool,
) -> int:
    """List the records of RUN, each once, oldest first."""
    found = _filtered(run, task, target, status, kind, origin)
    if as_json:
        emit([record_object(r) for r in found])
        return 0
    rows = [
        [r.key[:_KEY_DIGITS], r.task, str(r.target), status_text(r),
         " ".join(dict.fromkeys(e.kind.value for e in r.evidence)) or "-", r.origin,
         r.reason[:200]]
        for r in found
    ]  # fmt: skip
    table(_COLUMNS, rows)
    reported = sum(r.standing == "reported" for r in found)
    say(f"{len(found)} records; {reported} of them only reported, not seen here")
    return 0


@command.command("show")
@click.argument("key", metavar="KEY")
@run_option
@options.json_output
def show(key: str, run: str, as_json: bool) -> int:
    """Show the record whose key begins with KEY."""
    record = choose(key_starts(read_lines(_lines_of(run)), key), f"the key {key} in {run}")
    show_record(record, run, as_json)
    return 0


@command.command("import")
@click.argument("source", metavar="FILE|RUN|PACKAGE")
@run_option
@options.json_output
def import_(source: str, run: str, as_json: bool) -> int:
    """Take records from elsewhere into a run, as REPORTED.

    They are shown as such, and count for nothing (no pass, no --require, no --resume) until
    mkgen verify has seen here what they say. What no run can have given is refused, whole.
    """
    found = _from_elsewhere(Path(source))
    if run == _LATEST and not Path(run).is_dir():
        raise UserError("there is no run yet; name one, old or new: --run RUN")
    try:
        store = RunStore(Path(run))
    except OSError as error:
        raise UserError(f"{run} cannot be written to: {error.strerror}; use --run") from error
    try:
        known = {row.key for row in store.rows()}
        new = {r.key: r for r in found if r.key not in known}
        for record in new.values():
            store.append(record)
    finally:
        store.close()
    if as_json:
        emit({"imported": sorted(new), "known": len(found) - len(new), "run": run})
    say(f"{len(new)} records taken from {source} as REPORTED, {len(found) - len(new)} were there")
    return 0


@command.command("export")
@click.argument("run", default=_LATEST, metavar="[RUN]")
@_FILTERS
@click.option("--out", metavar="FILE", help="Instead of stdout.")
@click.option(
    "--dataset",
    metavar="FILE",
    help="Instead: what models answered in RUN, with verdicts and rewards, as JSON lines.",
)
def export(
    run: str,
    task: str | None,
    target: str | None,
    status: str | None,
    kind: str | None,
    origin: str | None,
    out: str | None,
    dataset: str | None,
) -> int:
    """Write records as JSON lines, sealed; whoever imports them has them as REPORTED.

    With --dataset, the answers of models: prompt, answer, kernel, verdict, reward. Keys, held-out
    inputs and providers' addresses are not in it.
    """
    found = _filtered(run, task, target, status, kind, origin)
    if dataset is not None:
        from mkgen.llm.dataset import rows

        wanted = {r.key for r in found}
        made = [row for row in rows(_lines_of(run).parent) if row.record_key in wanted]
        _write(dataset, "".join(row.canonical_json() + "\n" for row in made))
        say(f"{len(made)} answers written to {dataset}")
        return 0
    text = "".join(canonical_json(r.stored()) + "\n" for r in found)
    if out is None:
        sys.stdout.write(text)
    else:
        _write(out, text)
        say(f"{len(found)} records written to {out}")
    return 0


def _write(file: str, text: str) -> None:
    try:
        atomic_write(Path(file), text)
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error


@command.command("check")
@click.argument("run", default=_LATEST, metavar="[RUN]")
@options.json_output
def check(run: str, as_json: bool) -> int:
    """Check every line of RUN: seal, key, version, claims; and the index. Ends with 1 for a fault.

    Deletes nothing. A torn last line is what a killed process leaves, and no fault: the next
    record takes its place.
    """
    path = _lines_of(run)
    found = Run(path)
    try:
        faults, notes = _faults(path, found.rows())
        records = found.records() if not faults else []
    finally:
        found.close()
    reported = sum(r.standing == "reported" for r in records)
    if as_json:
        emit({"run": run, "records": len(records), "reported": reported, "faults": faults,
              "notes": notes})  # fmt: skip
    for text in faults:
        say(f"fault  {text}")
    for text in notes:
        say(f"note   {text}")
    if not faults:
        say(f"{len(records)} records, all whole; {reported} of them only reported")
    return EXIT_FAILED if faults else 0


def _faults(path: Path, rows: list[Row]) -> tuple[list[str], list[str]]:
    """What is wrong with the lines, and what is only worth knowing."""
    faults: list[str] = []
    notes: list[str] = []
    data = path.read_bytes()
    lines = whole_lines(data)
    if data and not data.endswith(b"\n"):
        notes.append("the last line is torn: its process died while it wrote")
    keys: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        try:
            parsed = parse(line)
        except ValueError as error:
            faults.append(f"line {number}: {error}")
            continue
        if not parsed.seal:
            notes.append(f"line {number}: not sealed (an older mkgen's, or written by hand)")
        backend = backends().get(parsed.record.target.backend)
        dispute = disputed(parsed.record, backend) if backend is not None else ""
        if dispute:
            faults.append(f"line {number}: {dispute}")
        first = keys.setdefault(parsed.record.key, number)
        if first != number:
            notes.append(f"line {number}: says what line {first} says; shown once")
    if [(r.number, r.length) for r in rows] != [(n, len(line)) for n, line in enumerate(lines, 1)]:
        faults.append("the index disagrees with the lines, and could not be made again")
    return faults, notes


def _lines_of(run: str) -> Path:
    found = records_file(Path(run))
    if found is None:
        raise UserError(f"{run} holds no records.jsonl; name a run, or a file of records")
    return found


def _filtered(
    run: str,
    task: str | None,
    target: str | None,
    status: str | None,
    kind: str | None,
    origin: str | None,
) -> list[Record]:
    wanted: dict[str, str | None] = {"task": task, "status": status, "origin": origin}
    if target is not None:
        try:
            wanted["target"] = str(Target.parse(target))
        except ValueError as error:
            raise UserError(f"--target {target}: it reads backend:arch[@device]") from error
    columns = {name: value for name, value in wanted.items() if value is not None}
    source = Run(_lines_of(run))
    try:
        found = source.selected(**columns)
    finally:
        source.close()
    return [r for r in found if kind is None or any(e.kind.value == kind for e in r.evidence)]


def _from_elsewhere(source: Path) -> list[Record]:
    """The records in `source`, all `reported`. UserError names the first that cannot be true."""
    path = records_file(source) or (source / "record.json" if source.is_dir() else source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    texts = [data] if path.suffix == ".json" else whole_lines(data)
    found = []
    for number, text in enumerate(texts, 1):
        try:
            record = parse(text).record
            backend = backends().get(record.target.backend)
            reason = disputed(record, backend) if backend is not None else ""
            if reason:
                raise ValueError(reason)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {error}; nothing was imported") from error
        found.append(record.model_copy(update={"standing": "reported"}))
    return found

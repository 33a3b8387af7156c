"""What commands print: JSON documents on stdout, words for people on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from mkgen.record import Record

Advance = Callable[[str, int, int], None]
"""`advance(what, done, total)`."""


def console() -> Console:
    """A console on stderr; names in brackets are text there, not mark-up."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def say(text: str) -> None:
    """Prints `text` to people, as it is."""
    console().print(text)


def emit(document: Any) -> None:
    """Prints `document` as the one JSON document of this command."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Prints rows under column heads to people."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    where = console()
    if not where.is_terminal:
        where.width = 160  # a log has no width; folding to 80 columns would tear reasons apart
    where.print(made, soft_wrap=False)


@contextmanager
def progress(shown: bool) -> Iterator[Advance]:
    """A progress bar on stderr for long work; nothing where stderr is no terminal."""
    where = console()
    if not (shown and where.is_terminal):
        yield lambda what, done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed

    text = TextColumn("{task.description}", markup=False)
    with Progress(
        text, BarColumn(), MofNCompleteColumn(), Elapsed(), console=where, transient=True
    ) as bar:
        task = bar.add_task("", total=None)

        def advance(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield advance


def record_object(record: Record, directory: Path | None = None) -> dict[str, Any]:
    """The JSON object that `gen` and `eval` print of a record.

    Artifact paths inside a package are given as `directory`/path.
    """
    data = record.model_dump(mode="json")
    artifacts = [
        {
            "arch": a["arch"],
            "format": a["format"],
            "path": str(directory / a["path"]) if directory else a["path"],
            "sha": a["sha"],
            "resources": a["resources"],
            "compiler": a["compiler"],
        }
        for a in data["artifacts"]
    ]
    error = data["error"] and {k: data["error"][k] for k in ("max_abs", "max_rel", "budget")}
    return {
        "task": record.task,
        "target": str(record.target),
        "precision": record.precision.value,
        "status": record.status.value,
        "standing": record.standing,
        "key": record.key,
        "origin": record.origin,
        "generation": data["generation"],
        "reason": record.reason,
        "evidence": data["evidence"],
        "error": error,
        "parameters": data["parameters"],
        "variant": record.variant.key if record.variant else None,
        "text_sha": record.text_sha,
        "artifacts": artifacts,
        "parameter_source": data["parameter_source"],
        "model": {"seconds": record.estimate_seconds, "reason": record.estimate_reason},
        "files": list(record.files),
        "seconds": round(record.seconds, 3),
    }


def status_text(record: Record) -> str:
    """`pass`; `REPORTED pass` where it was not seen here."""
    reported = "REPORTED " if record.standing == "reported" else ""
    return f"{reported}{record.status.value}"


def record_row(record: Record) -> list[str]:
    """A record as one row: task, target, status, evidence, share of the error budget, reason."""
    share = f"{record.error.share:.3f}" if record.error else "-"
    kinds = " ".join(dict.fromkeys(e.kind.value for e in record.evidence)) or "-"
    return [
        record.task, str(record.target), status_text(record), kinds, share,
        f"{record.seconds:.1f}", record.reason[:200],
    ]  # fmt: skip


RECORD_COLUMNS = ("task", "target", "status", "evidence", "error/budget", "seconds", "reason")

"""`mkgen show`: a record, a package, a run, or what templates can make of a task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mkgen.cli import options
from mkgen.cli.again import read_record, records_file
from mkgen.cli.present import RECORD_COLUMNS, emit, record_object, record_row, say, table
from mkgen.errors import UserError
from mkgen.evaluate.store import read_lines
from mkgen.record import Record


@click.command("show")
@click.argument("path", required=False, metavar="[PACKAGE|RUN|FILE]")
@options.together(
    click.option("--task", "name", metavar="NAME|FILE.py[::NAME]", help="Show this task's space."),
    click.option("--target", metavar="BACKEND:ARCH[@DEVICE]", help="For this target."),
    click.option("--backend", metavar="NAME", help="Instead of --target: its usual arch."),
    options.shape,
    options.dtype,
    options.precision,
    click.option("--explain", is_flag=True, help="Say why the model estimates what it does."),
    click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True,
                 help="How many parameter sets to list, best estimate first."),
    options.json_output,
)  # fmt: skip
def command(
    path: str | None,
    name: str | None,
    target: str | None,
    backend: str | None,
    shapes: tuple[str, ...],
    dtype: str | None,
    precision: str | None,
    explain: bool,
    limit: int,
    as_json: bool,
) -> int:
    """Show what was seen (a package, a run, a record), or a task's legal parameter sets.

    \b
    mkgen show conv2d-hip-gfx942
    mkgen show runs/latest
    mkgen show --task matmul --target hip:gfx942 --explain
    """
    if (path is None) == (name is None):
        raise UserError("say what to show: a package, a run or a record; or --task with --target")
    if path is not None:
        return _show_path(Path(path), as_json)
    assert name is not None
    return _show_space(name, target, backend, shapes, dtype, precision, explain, limit, as_json)


def _show_path(path: Path, as_json: bool) -> int:
    if not path.exists():
        raise UserError(f"{path} does not exist; name a package, a run or a record")
    records = records_file(path)
    if records is not None:
        found = read_lines(records)
        if as_json:
            emit([record_object(r) for r in found])
        else:
            table(RECORD_COLUMNS, [record_row(r) for r in found])
        return 0
    show_record(read_record(path), str(path), as_json)
    return 0


def show_record(record: Record, place: str, as_json: bool) -> None:
    """Prints everything of `record`, which lies in `place`."""
    if as_json:
        emit(record_object(record))
        return
    from mkgen.codegen.registry import backends
    from mkgen.evaluate.limits import target_limits
    from mkgen.evaluate.wording import describe, parameters_text

    # a record may be of a backend that is not installed here
    plugin = backends().get(record.target.backend)
    known = plugin is not None and record.target.arch in plugin.archs
    title = target_limits(plugin, record.target).title if plugin and known else ""
    say(describe(record, title, place).rstrip())
    values = " ".join(f"{k}={v}" for k, v in record.parameters.items())
    source = record.parameter_source
    say(f"parameters {values or 'none'}{f'; {parameters_text(source)}' if source else ''}")
    if record.estimate_reason:
        say(f"model      {record.estimate_reason}")
    rows = [
        [r.workload, r.executor, r.schedule, r.status.value,
         f"{r.error.share:.3f}" if r.error else "-", f"{r.seconds:.2f}", r.message[:300]]
        for r in record.results
    ]  # fmt: skip
    heads = ("workload", "executor", "order", "status", "error/budget", "seconds", "message")
    table(heads, rows)


def _show_space(
    name: str,
    target: str | None,
    backend: str | None,
    shapes: Sequence[str],
    dtype: str | None,
    precision: str | None,
    explain: bool,
    limit: int,
    as_json: bool,
) -> int:
    from mkgen.cli.request import precision_of, resolve_target, resolve_task
    from mkgen.codegen.candidate import Generator
    from mkgen.tune.choose import rank
    from mkgen.tune.generate import require_precision

    plugin, resolved = resolve_target(target, backend)
    task = precision_of(resolve_task(name, shapes, dtype), precision)
    generator = Generator(task, plugin, resolved, task.precision)
    require_precision(generator)
    ranked = rank(generator)
    sets: list[dict[str, Any]] = [
        {
            "templates": [t.name for t in c.candidate.request.templates],
            "parameters": dict(c.candidate.request.parameters),
            "estimate_seconds": c.estimate.seconds,
            "bound": c.estimate.bound,
            "reason": c.estimate.reason,
        }
        for c in ranked[:limit]
    ]
    if as_json:
        kinds = [{"name": k.name, "kind": k.kind} for k in generator.kernels]
        emit(
            {
                "task": task.name,
                "target": str(resolved),
                "kernels": kinds,
                "legal": len(ranked),
                "best": sets,
            }
        )
        return 0
    kernels = ", ".join(f"{k.name} ({k.kind})" for k in generator.kernels)
    say(f"{task.name} -> {resolved}: kernels {kernels}; {len(ranked)} legal parameter sets")
    rows = [
        [" ".join(f"{k}={v}" for k, v in s["parameters"].items()) or "none",
         ", ".join(s["templates"]), f"{s['estimate_seconds']:.3g}", s["bound"],
         *([s["reason"]] if explain else [])]
        for s in sets
    ]  # fmt: skip
    heads = ["parameters", "templates", "model (s)", "bound", *(["why"] if explain else [])]
    table(heads, rows)
    say("Estimates are a model's, before compiling; nothing was measured.")
    return 0

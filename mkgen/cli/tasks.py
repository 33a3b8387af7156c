"""`mkgen tasks`: what ships, and what one task is."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import click

from mkgen.cli import options
from mkgen.cli.present import emit, say, table
from mkgen.task import Task, task_files


@click.command("tasks")
@click.argument("name", required=False, metavar="[NAME|FILE.py]")
@options.json_output
def command(name: str | None, as_json: bool) -> int:
    """List the tasks that ship with mkgen; with NAME, show its inputs, sizes and reference."""
    if name is not None:
        from mkgen.cli.request import resolve_task

        task = resolve_task(name)
        if as_json:
            emit(task.model_dump(mode="json") | {"title": task.title, "hash": task.hash})
        else:
            say(_details(task))
        return 0
    rows = [_summary(path) for path in task_files().values()]
    if as_json:
        emit(rows)
    else:
        table(("task", "category", "what it computes"), [list(row.values()) for row in rows])
    return 0


def _summary(path: Path) -> dict[str, str]:
    # read, not imported: importing a task imports PyTorch
    text = ast.get_docstring(ast.parse(path.read_text())) or path.stem
    return {"name": path.stem, "category": path.parent.name, "title": text.splitlines()[0]}


def _details(task: Task) -> str:
    def sizes(values: dict[str, int]) -> str:
        return ", ".join(f"{k}={v}" for k, v in values.items())

    lines = [f"{task.name} ({task.category}, {task.precision.value}): {task.title}"]
    for key, tensor in task.inputs.items():
        bounds = f" in [{tensor.low}, {tensor.high})" if tensor.distribution != "normal" else ""
        extra: list[Any] = [f"scale {tensor.scale:g}"] if tensor.scale != 1.0 else []
        drawn = ", ".join([f"{tensor.distribution}{bounds}", *extra])
        lines.append(f"  {key:<10}{tensor.dtype}[{tensor.shape}], {drawn}")
    lines += [f"  {w.name:<10}{sizes(w.sizes)}" for w in task.workloads()]
    return "\n".join([*lines, f"  file      {task.path}", "", task.source.rstrip()])

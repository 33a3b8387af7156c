"""`mkgen tasks`: what ships, and what one task is."""

from __future__ import annotations

import ast
from pathlib import Path

import click

from mkgen.cli import options
from mkgen.cli.present import emit, say, table
from mkgen.task import Task, Tensor, task_files


@click.command("tasks")
@click.argument("name", required=False, metavar="[NAME|FILE.py]")
@options.json_output
def command(name: str | None, as_json: bool) -> int:
    """List the tasks that ship with mkgen; with NAME or FILE.py, show that one.

    Its inputs and how they are drawn, its sizes (bench: what a kernel is made for; check and
    heldout: what it is judged on) and its reference. Of a file of yours, the task that mkgen
    writes around it.

    \b
    mkgen tasks
    mkgen tasks conv2d
    mkgen tasks my_model.py
    """
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
        count = len({row["category"] for row in rows})
        say(f"{len(rows)} tasks in {count} categories; `mkgen tasks NAME` shows one.")
    return 0


def _summary(path: Path) -> dict[str, str]:
    # read, not imported: importing a task imports PyTorch
    text = ast.get_docstring(ast.parse(path.read_text())) or path.stem
    return {"name": path.stem, "category": path.parent.name, "title": text.splitlines()[0]}


def _drawn(tensor: Tensor) -> str:
    """How its values are drawn: `integers in [0, V)`, `normal, scale 3, shift K // 2`."""
    bounds = f" in [{tensor.low}, {tensor.high})" if tensor.distribution != "normal" else ""
    words = [f"{tensor.distribution}{bounds}"]
    for word, value, usual in (("scale", tensor.scale, 1.0), ("shift", tensor.shift, 0.0)):
        if value != usual:
            words.append(f"{word} {value if isinstance(value, str) else format(value, 'g')}")
    return ", ".join(words)


def _details(task: Task) -> str:
    def sizes(values: dict[str, int]) -> str:
        return ", ".join(f"{k}={v}" for k, v in values.items())

    lines = [f"{task.name} ({task.category}, {task.precision.value}): {task.title}"]
    for key, tensor in task.inputs.items():
        lines.append(f"  {key:<10}{tensor.dtype}[{tensor.shape}], {_drawn(tensor)}")
    lines += [f"  {w.name:<10}{sizes(w.sizes)}" for w in task.workloads()]
    return "\n".join([*lines, f"  file      {task.path}", "", task.source.rstrip()])

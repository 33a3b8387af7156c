"""`mkgen tasks`: what ships, and what one task is."""

from __future__ import annotations

import ast
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mkgen.cli import options
from mkgen.cli.present import emit, say, table
from mkgen.errors import EXIT_INPUT, UnsupportedError
from mkgen.reading import module_tree
from mkgen.task import Task, Tensor, task_files

if TYPE_CHECKING:
    from mkgen.evaluate.lint import Lint


class _Tasks(click.Group):
    """`tasks NAME` shows a task, `tasks lint` is a command: no task is called so."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click.Group; what is no command's name is a task's."""
        if not args or args[0] not in (*self.commands, "-h", "--help"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group("tasks", cls=_Tasks, options_metavar="", subcommand_metavar="[NAME|FILE.py] [--json]")
def command() -> None:
    """List the tasks that ship with mkgen; with NAME or FILE.py, show that one.

    Its inputs and how they are drawn, its sizes (bench: what a kernel is made for; check and
    heldout: what it is judged on) and its reference. Of a file of yours, the task that mkgen
    writes around it.

    \b
    mkgen tasks
    mkgen tasks conv2d
    mkgen tasks my_model.py
    mkgen tasks lint my_model.py
    """


@command.command("show", hidden=True)
@click.argument("name", required=False, metavar="[NAME|FILE.py]")
@options.json_output
def show(name: str | None, as_json: bool) -> int:
    """Show one task, or list all."""
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


@command.command("lint")
@click.argument("names", nargs=-1, metavar="[NAME|FILE.py]...")
@options.seed
@options.json_output
def lint_command(names: tuple[str, ...], seed: int, as_json: bool) -> int:
    """Say whether tasks can judge anything; all that ship, without NAME.

    A task is rejected (exit code 2) when a control passes on any of its small sizes: zeros, ones,
    the mean of the right answer, a copy of an input, NaN, state left as it was. It is rejected,
    too, when PyTorch itself is far off, or its reference fails. Sizes that are no primes, even or
    cubic are remarked upon; so are the structured inputs (values far from zero, close to it, ties,
    denormal numbers) that the task cannot be judged by.

    \b
    mkgen tasks lint
    mkgen tasks lint conv2d my_model.py --json
    """
    from mkgen.cli.request import resolve_task
    from mkgen.codegen.candidate import scales
    from mkgen.evaluate.lint import Finding, Lint, lint
    from mkgen.evaluate.oracle import Judge

    judge = Judge(scales, seed=seed)
    done: list[Lint] = []
    for name in names or task_files():
        try:
            found = lint(resolve_task(name), judge)
        except UnsupportedError as error:  # no nests, so that nothing bounds its rounding
            found = Lint(name, rejected=[Finding("", str(error))])
        done.append(found)
        if not as_json:
            say(_lint_text(found))
    if as_json:
        emit([asdict(found) for found in done])
    rejected = sum(bool(found.rejected) for found in done)
    say(f"{len(done) - rejected} of {len(done)} tasks can be judged by")
    return EXIT_INPUT if rejected else 0


def _lint_text(found: Lint) -> str:
    """One line when all is well, else one more per finding."""
    used = [name for name, why in found.structured.items() if not why]
    left_out = [f"  without   {name}: {why}" for name, why in found.structured.items() if why]
    verdict = "rejected" if found.rejected else "ok"
    lines = [f"{found.task:<28}{verdict:<10}{', '.join(used)}".rstrip()]
    for word, findings in (("rejected", found.rejected), ("remark", found.remarks)):
        for finding in findings:
            where = f"{finding.workload}: " if finding.workload else ""
            lines.append(f"  {word:<10}{where}{finding.told}")
    return "\n".join([*lines, *left_out])


def _summary(path: Path) -> dict[str, str]:
    # read, not imported: importing a task imports PyTorch
    text = ast.get_docstring(module_tree(path.read_text())) or path.stem
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

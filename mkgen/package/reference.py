"""The user's own PyTorch source, without the lines that need mkgen."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass

from mkgen.errors import UserError
from mkgen.reading import module_tree
from mkgen.task import Task

_SPDX = "# SPDX-License-Identifier"


@dataclass(frozen=True)
class ReferenceFile:
    """reference.py and what in it is the reference."""

    text: str
    name: str
    is_class: bool


def reference_file(task: Task) -> ReferenceFile:
    """The task's file as it stands, but for imports of mkgen and the `Task(...)` they serve.

    UserError when what is left would need mkgen, or the reference has no text.
    """
    if not task.source:
        raise UserError(
            f"task {task.name} was not loaded from a file, so that its reference has no text to "
            "ship; write it to a file and load that"
        )
    tree = module_tree(task.source)
    expression = _reference_expression(tree, task.name)
    kept = _strip(task, tree)
    text = kept.strip("\n") + "\n"
    name = expression if expression is not None else _given_name(task)
    if not name.isidentifier():
        text += f"\n\nreference = {name}\n"
        name = "reference"
    return ReferenceFile(text, name, inspect.isclass(task.reference))


def _given_name(task: Task) -> str:
    # a file without a Task(...): mkgen made the task around a function or class of the file
    name = getattr(task.reference, "__name__", "")
    if not re.search(rf"\b(def|class) {re.escape(name)}\b", task.source):
        raise UserError(
            f"task {task.name}: the reference is not a function or class of its file; give it "
            "a name there"
        )
    return name


def _is_task(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name | ast.Attribute)
        and (node.func.id if isinstance(node.func, ast.Name) else node.func.attr) == "Task"
    )


def _reference_expression(tree: ast.Module, name: str) -> str | None:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_task(node)]
    found = []
    for call in calls:
        keywords = {k.arg: k.value for k in call.keywords}
        named = keywords.get("name")
        matches = isinstance(named, ast.Constant) and named.value == name
        if "reference" in keywords and (matches or len(calls) == 1):
            found.append(ast.unparse(keywords["reference"]))
    return found[0] if found else None


def _strip(task: Task, tree: ast.Module) -> str:
    """The source without statements that name something of mkgen's, as far as that reaches."""
    gone: set[str] = set()
    drop: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            ours = _mkgen_names(node)
            if ours:
                gone |= ours
                drop.append(node)
            continue
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & gone
        if not used:
            continue
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            raise UserError(
                f"task {task.name}, line {node.lineno}: {node.name} uses {sorted(used)[0]} of "
                "mkgen; a reference that ships must need PyTorch alone"
            )
        gone |= {
            n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        drop.append(node)
    lines = task.source.splitlines(keepends=True)
    for node in drop:
        for number in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[number] = ""
    text = re.sub(r"\n{4,}", "\n\n\n", "".join(lines))
    return text if _SPDX in text else text.lstrip("\n")


def _mkgen_names(node: ast.Import | ast.ImportFrom) -> set[str]:
    if isinstance(node, ast.ImportFrom):
        if (node.module or "").partition(".")[0] != "mkgen":
            return set()
        return {alias.asname or alias.name for alias in node.names}
    return {
        alias.asname or alias.name.partition(".")[0]
        for alias in node.names
        if alias.name.partition(".")[0] == "mkgen"
    }

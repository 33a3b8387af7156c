"""In-place operations: `x.add_(1)` is lowered as `x + 1`, which then stands for x."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from mkgen.expression import Name
from mkgen.frontend.context import Context, Operand


def changed_argument(node: Any) -> Any | None:
    """The node whose tensor `node` writes, by the operator's schema; None when it writes none."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.arguments or not node.args:
        return None
    alias = schema.arguments[0].alias_info
    return node.args[0] if alias is not None and alias.is_write else None


def functional_form(overload: str) -> str:
    """`aten.add.Tensor` for `aten.add_.Tensor`."""
    return re.sub(r"_\.", ".", overload, count=1)


def replace_operand(
    context: Context, node: Any, changed: Any, result: Operand, operands: dict[str, Any]
) -> None:
    """Lets `result` stand for the changed tensor, under every name and view it goes by.

    State of a module is written back at the end. Raises UnsupportedError where an input of the
    task is changed, or where a slice or permutation shares memory with it and is used later.
    """
    old = operands[changed.name]
    family = {changed, *_sharing(changed)}
    given = [n for n in family if n.op == "placeholder"]
    if given and context.graph.tensors[old.name].role == "input":
        raise context.unsupported(f"{node.name} changes the input {old.name} in place; copy it")
    for other in family:
        known = operands.get(other.name)
        if isinstance(known, Operand) and known.name != old.name and _used_later(other, operands):
            raise context.unsupported(
                f"{node.name} changes a tensor in place of which {other.name} is a part or a "
                "permutation; write it without changing in place"
            )
    if given:
        axes = context.axes(old.shape)
        context.update(old, axes, result.at(*(Name(a.name) for a in axes)))
    for other in family:
        known = operands.get(other.name)
        if isinstance(known, Operand) and known.name == old.name:
            operands[other.name] = replace(result, shape=known.shape)


def _sharing(node: Any) -> set[Any]:
    """Every node that may share memory with `node`: its views, what it is a view of, and so on."""
    found, todo = {node}, [node]
    while todo:
        here = todo.pop()
        near = {user for user in here.users if _is_view(user) and user.args[0] is here}
        if _is_view(here):
            near.add(here.args[0])
        todo += near - found
        found |= near
    return found - {node}


def _is_view(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None or not schema.arguments or not node.args:
        return False
    return schema.arguments[0].alias_info is not None


def _used_later(node: Any, operands: dict[str, Any]) -> bool:
    return any(user.name not in operands for user in node.users)

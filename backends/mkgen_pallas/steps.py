"""Reads the layout operations of a launcher back from its text, so that the steps cannot lie."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mkgen.program import Glue, Launch, Step

#: Method or function -> the layout operation it is. Nothing else may touch an array.
_GLUE = {
    "reshape": "reshape",
    "transpose": "permute",
    "pad": "pad",
    "astype": "cast",
    "tile": "tile",
}
#: What a launcher may call beside those: descriptions, never arithmetic.
_NEUTRAL = {
    "pallas_call", "BlockSpec", "cdiv", "ShapeDtypeStruct", "VMEM", "CompilerParams",
    "PrefetchScalarGridSpec", "tuple", "range", "ValueError", "line", "min",
}  # fmt: skip


def launcher_steps(text: str, launches: tuple[Launch, ...]) -> tuple[Step, ...]:
    """Glue and launches in the order the launcher runs them.

    Raises ValueError when it does anything else to an array: arithmetic, a reduction, a gather.
    """
    function = next(n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef))
    steps: list[Step] = []
    pending = list(launches)
    for statement in function.body:
        if isinstance(statement, ast.FunctionDef):
            continue  # a block specification
        _refuse_arithmetic(statement)
        target = _target(statement)
        for call in _calls(statement):
            name = _name(call)
            if name in _GLUE:
                source = ast.unparse(_operand(call))
                steps.append(Glue(
                    op=_GLUE[name], input=source, output=target or source,  # type: ignore[arg-type]
                    attributes={"arguments": ", ".join(ast.unparse(a) for a in call.args)},
                ))  # fmt: skip
            elif name == "pallas_call":
                steps.append(_launch(call, statement, pending))
            elif name not in _NEUTRAL:
                raise ValueError(f"a launcher may not call {ast.unparse(call.func)}")
    return tuple(steps)


def _launch(call: ast.Call, statement: ast.stmt, pending: list[Launch]) -> Launch:
    """The launch that a pallas_call makes: the kernel's own, or one that comes before it."""
    named = [k.value.value for k in call.keywords
             if k.arg == "name" and isinstance(k.value, ast.Constant)]  # fmt: skip
    if not named or named[0] == pending[0].entry:
        return pending.pop(0)
    outer = next(c for c in ast.walk(statement) if isinstance(c, ast.Call) and c.func is call)
    reads = tuple(dict.fromkeys(_array(a) for a in outer.args))
    target = _target(statement)
    return pending[0].model_copy(update={
        "entry": str(named[0]), "args": (*reads, target), "reads": reads, "writes": (target,),
    })  # fmt: skip


def _array(argument: ast.expr) -> str:
    """The array that an operand is a view of."""
    node: ast.expr = argument
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Call):
            node = _operand(node)
        elif isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
            node = node.value
        else:
            raise ValueError(f"a launcher may not pass {ast.unparse(argument)}")
    return node.id


def _calls(statement: ast.stmt) -> list[ast.Call]:
    """Calls of the statement, operands before what uses them."""
    found: list[ast.Call] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Call):
            for argument in (*node.args, *(k.value for k in node.keywords)):
                visit(argument)
            visit(node.func)
            found.append(node)
        elif not isinstance(node, ast.Lambda):
            for child in ast.iter_child_nodes(node):
                visit(child)

    visit(statement)
    return [c for c in found if not isinstance(c.func, ast.Call)]


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)


def _operand(call: ast.Call) -> ast.expr:
    """The array a layout operation works on."""
    if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) != "jnp":
        return call.func.value
    return call.args[0]


def _target(statement: ast.stmt) -> str:
    return ast.unparse(statement.targets[0]) if isinstance(statement, ast.Assign) else ""


def _refuse_arithmetic(statement: ast.stmt) -> None:
    """Operators are allowed on sizes (upper-case names) and in index maps, never on arrays."""
    for node in _outside_index_maps(statement):
        if isinstance(node, ast.BinOp) and not isinstance(node.left, ast.List):
            names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
            if any(not n.isupper() for n in names):
                raise ValueError(f"a launcher may not compute {ast.unparse(node)}")


def _outside_index_maps(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but the bodies of index maps, which know nothing but their own arguments."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Lambda):
            _refuse_captures(child)
        else:
            yield from _outside_index_maps(child)


def _refuse_captures(function: ast.Lambda) -> None:
    """ValueError when an index map names an array: it may use positions, sizes and jnp."""
    own = {a.arg for a in function.args.args} | {"jnp", "jax", "pl", "min"}
    for node in ast.walk(function.body):
        if isinstance(node, ast.Name) and node.id not in own and not node.id.isupper():
            raise ValueError(f"an index map may not read {node.id}")

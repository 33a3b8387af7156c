"""Reads the layout operations of a launcher back from its text, so that the steps cannot lie."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mkgen.program import Glue, Launch, Repeat, Step
from mkgen.reading import module_tree

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


def launcher_steps(text: str, planned: tuple[Step, ...]) -> tuple[Step, ...]:
    """Glue, launches and loops in the order the launcher runs them.

    Raises ValueError when it does anything else to an array (arithmetic, a reduction, a gather), or
    when a loop of it is not the planned one.
    """
    function = next(n for n in module_tree(text).body if isinstance(n, ast.FunctionDef))
    pending: list[Launch] = []
    loops: list[Repeat] = []
    for step in planned:
        inner = step.steps if isinstance(step, Repeat) else (step,)
        pending += [s for s in inner if isinstance(s, Launch)]
        loops += [step] if isinstance(step, Repeat) else []
    return _read(function, pending, loops)


def _read(
    function: ast.FunctionDef, pending: list[Launch], loops: list[Repeat]
) -> tuple[Step, ...]:
    steps: list[Step] = []
    functions: dict[str, ast.FunctionDef] = {}
    for statement in function.body:
        if isinstance(statement, ast.FunctionDef):
            functions[statement.name] = statement  # a block specification, or a loop's round
            continue
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
            elif ast.unparse(call.func) == "jax.lax.scan":
                steps.append(_loop(call, statement, functions, pending, loops))
            elif name not in _NEUTRAL:
                raise ValueError(f"a launcher may not call {ast.unparse(call.func)}")
    return tuple(steps)


def _loop(
    call: ast.Call,
    statement: ast.stmt,
    functions: dict[str, ast.FunctionDef],
    pending: list[Launch],
    loops: list[Repeat],
) -> Repeat:
    """The loop as the text says it; ValueError when that is not what was planned."""
    planned = loops.pop(0)
    named, carry, slices = call.args
    function = functions[ast.unparse(named)]
    first, second = (_unpacked(function, a.arg) for a in function.args.args)
    result = function.body[-1]
    if not (isinstance(result, ast.Return) and isinstance(result.value, ast.Tuple)):
        raise ValueError(f"{function.name} must return what it carries and what is kept")
    written, kept = (_names(e) for e in result.value.elts)
    assert isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Tuple)
    after, arrays = (_names(e) for e in statement.targets[0].elts)
    backwards = any(k.arg == "reverse" and ast.unparse(k.value) == "True" for k in call.keywords)
    said = (
        tuple(zip(first, written, strict=True)), tuple(zip(arrays, kept, strict=True)),
        after, _names(carry), set(second), set(_names(slices)), backwards,
    )  # fmt: skip
    inside = set(planned.advance) - {array for array, _ in planned.stacks}
    wanted = (
        planned.swaps, planned.stacks, first, first, inside, inside,
        any(count < 0 for count in planned.advance.values()),
    )  # fmt: skip
    if said != wanted:
        raise ValueError(f"the launcher's loop {function.name} is not the planned one")
    inner = _read(function, pending, [])
    steps = tuple(s for s in inner if isinstance(s, Launch | Glue))
    return planned.model_copy(update={"steps": steps})


def _unpacked(function: ast.FunctionDef, name: str) -> tuple[str, ...]:
    """The names a parameter stands for: its own, or those it is unpacked into."""
    for statement in function.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.value) == name:
            return _names(statement.targets[0])
    return (name,)


def _names(node: ast.expr) -> tuple[str, ...]:
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return tuple(ast.unparse(p) for p in parts)


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

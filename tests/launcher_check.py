"""Reads a Python launcher as a stranger would: does it compute anything on arrays?"""

from __future__ import annotations

import ast

#: Layout operations; nothing else may be done to an array between kernels.
LAYOUT = {"pad", "reshape", "transpose", "permute", "astype", "to", "tile", "contiguous"}
#: A loop over slices; what its function does is looked at like the launcher itself.
SCAN = "jax.lax.scan"
#: What says something of an array without touching its elements.
DESCRIBING = {"shape", "dtype", "device", "is_contiguous"}
#: Calls that take arrays as the message of an error does.
HARMLESS = {"tuple", "ValueError"}


def array_arithmetic(text: str, launcher: str) -> list[str]:
    """What the function `launcher` of `text` does to arrays beyond layout; empty when nothing."""
    function = next(
        n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == launcher
    )
    reader = _Reader({a.arg for a in function.args.args}, _rounds(function))
    for statement in function.body:
        reader.statement(statement)
    return reader.found


def _rounds(function: ast.FunctionDef) -> frozenset[str]:
    """Names of the functions that jax.lax.scan calls: their arguments are arrays."""
    return frozenset(
        ast.unparse(node.args[0])
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == SCAN
    )


class _Reader:
    """Follows which names hold arrays."""

    def __init__(self, arrays: set[str], rounds: frozenset[str] = frozenset()) -> None:
        self.arrays = set(arrays)
        self.rounds = rounds
        self.counters: set[str] = set()
        self.found: list[str] = []

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.For):  # the check of shapes: `name, array, shape, dtype`
            self.look(node.iter)
            if self.holds(node.iter) or self.names(node.iter) & {"expected"}:
                self.arrays |= {"array"}
            elif isinstance(node.target, ast.Name) and self.counts(node.iter):
                self.counters.add(node.target.id)
            for inner in node.body:
                self.statement(inner)
            return
        if isinstance(node, ast.FunctionDef):
            own = {a.arg for a in node.args.args}
            arrays = self.arrays | own if node.name in self.rounds else self.arrays - own
            inner = _Reader(arrays, self.rounds)
            for part in node.body:
                inner.statement(part)
            self.found += inner.found
            return
        if isinstance(node, ast.AugAssign):
            self.found.append(ast.unparse(node))
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                self.statement(child)
            else:
                self.look(child)
        if isinstance(node, ast.Assign) and self.holds(node.value):
            self.arrays |= {
                n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)
            }

    def counts(self, node: ast.expr) -> bool:
        """Whether `node` is range(...), perhaps reversed."""
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in ("range", "reversed"):
            return False
        return ast.unparse(node.func) == "range" or self.counts(node.args[0])

    def slices(self, node: ast.Subscript) -> bool:
        """Whether `node` is an array's slice of this round of a loop."""
        return isinstance(node.slice, ast.Name) and node.slice.id in self.counters

    def names(self, node: ast.AST) -> set[str]:
        return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}

    def holds(self, node: ast.AST) -> bool:
        """Whether the value of `node` is made of arrays, not only of what describes them."""
        if isinstance(node, ast.Attribute) and node.attr in DESCRIBING:
            return False
        if isinstance(node, ast.Name):
            return node.id in self.arrays
        if isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "torch.empty",
            "pl.pallas_call",
        ):
            return True
        if isinstance(node, ast.Lambda):
            return False
        return any(self.holds(c) for c in ast.iter_child_nodes(node))

    def look(self, node: ast.AST) -> None:
        if isinstance(node, ast.BinOp) and self.holds(node):
            repeats = isinstance(node.op, ast.Mult) and isinstance(node.left, ast.List)
            if not repeats:
                self.found.append(ast.unparse(node))
        elif isinstance(node, ast.UnaryOp):
            if self.holds(node) and not self.described(node):
                self.found.append(ast.unparse(node))
        elif isinstance(node, ast.Subscript):
            if self.holds(node.value) and not self.slices(node):
                self.found.append(ast.unparse(node))
        elif isinstance(node, ast.Call):
            self.call(node)
        elif isinstance(node, ast.Lambda):  # an index map: its arguments hide arrays of their name
            inner = _Reader(self.arrays - {a.arg for a in node.args.args})
            inner.look(node.body)
            self.found += inner.found
            return
        for child in ast.iter_child_nodes(node):
            self.look(child)

    def described(self, node: ast.UnaryOp) -> bool:
        operand = node.operand
        return (
            isinstance(operand, ast.Call)
            and isinstance(operand.func, ast.Attribute)
            and operand.func.attr in DESCRIBING
        )

    def call(self, node: ast.Call) -> None:
        takes = any(self.holds(a) for a in (*node.args, *(k.value for k in node.keywords)))
        function = node.func
        if isinstance(function, ast.Attribute):
            own = self.holds(function.value)
            if ast.unparse(function) == SCAN:
                return
            if (own or takes) and function.attr not in LAYOUT | DESCRIBING:
                self.found.append(ast.unparse(node))
            return
        launches = isinstance(function, ast.Call) or (  # pallas_call(…)(x), kernel[grid](x)
            isinstance(function, ast.Subscript)
            and self.names(function.value).isdisjoint(self.arrays)
        )
        if takes and not launches and ast.unparse(function) not in HARMLESS:
            self.found.append(ast.unparse(node))

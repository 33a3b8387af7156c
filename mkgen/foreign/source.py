"""The user's file: what it holds, and what it gives when its integers are others."""

from __future__ import annotations

import ast
import contextlib
import inspect
import symtable
import traceback
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mkgen.errors import UserError
from mkgen.foreign.inputs import Drawn, drawing
from mkgen.importing import import_given
from mkgen.reading import python_symbols, python_tree, read_text
from mkgen.task import Sizes

#: Functions of a file in the style of KernelBench that say what to call the model with.
GIVERS = ("get_inputs", "get_input_groups", "get_init_inputs")
#: Integers below it that stand in a giver's body are left alone: kernel sizes, dimensions.
_SMALLEST_LITERAL = 9
#: More than any tensor has elements; Python writes no number of over 4300 digits.
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Given:
    """What a file's functions give for one choice of its integers."""

    groups: tuple[tuple[Any, ...], ...]
    """Per set of inputs what the model is called with: `Drawn`, or a plain number."""
    init: tuple[Any, ...]
    """What it is constructed with."""
    constants: Mapping[str, Any]
    """Module-level values that classes and functions of the file read."""


@dataclass
class Source:
    """A Python file, parsed; run as often as there are sizes to try."""

    path: Path
    text: str
    tree: ast.Module = field(init=False)

    def __post_init__(self) -> None:
        self.tree = python_tree(self.text, f"task file {self.path}")

    @classmethod
    def of(cls, path: Path) -> Source:
        """The file `path`. UserError when it cannot be read as Python."""
        return cls(path, read_text(path, f"task file {path}"))

    @property
    def integers(self) -> Sizes:
        """Module-level integers above 1 by name: `batch_size = 16`, `shape = (64, 128)`."""
        return {
            name: value
            for node in self.tree.body
            for name, constant in _assigned(node)
            if (value := _integer(constant)) > 1
        }

    @property
    def literals(self) -> Sizes:
        """Integers that stand in the functions that give the inputs: `_1024` -> 1024."""
        values = {
            value
            for giver in self._functions(GIVERS)
            for node in ast.walk(giver)
            if (value := _integer(node)) >= _SMALLEST_LITERAL
        }
        return {f"_{value}": value for value in sorted(values)}

    def defines(self, name: str) -> bool:
        """Whether the file has a class or function `name`."""
        return any(
            isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name
            for node in self.tree.body
        )

    def definitions(self) -> tuple[str, ...]:
        """Classes and functions of the file."""
        kinds = (ast.ClassDef, ast.FunctionDef)
        return tuple(n.name for n in self.tree.body if isinstance(n, kinds))

    def run(self, sizes: Sizes) -> types.ModuleType:
        """The file executed with other numbers for its integers; no tensor takes memory."""
        import torch

        with torch.device("meta"):
            return import_given(self.with_numbers(sizes), self.path, "_mkgen_foreign")

    def with_numbers(self, sizes: Sizes) -> ast.Module:
        """The file's tree with other numbers for its integers."""
        tree = python_tree(self.text, f"task file {self.path}")
        changed: ast.Module = ast.fix_missing_locations(_Numbers(sizes).visit(tree))
        return changed

    def give(self, sizes: Sizes, readers: frozenset[str]) -> Given:
        """What the file's functions give for `sizes`; `readers` are module-level names to report.

        Raises what the file raises.
        """
        import torch

        module = self.run(sizes)
        groups: list[tuple[Any, ...]] = []
        with drawing() as drawn, torch.device("meta"):
            if hasattr(module, "get_inputs"):
                groups.append(_inputs(module.get_inputs(), drawn))
            if hasattr(module, "get_input_groups"):
                groups += [_inputs(group, drawn) for group in module.get_input_groups()]
            init = module.get_init_inputs() if hasattr(module, "get_init_inputs") else ()
        constants = {name: getattr(module, name, None) for name in readers}
        return Given(tuple(groups), _init(init), constants)

    def read_globals(self) -> frozenset[str]:
        """Module-level variables that anything but the givers reads."""
        variables = {
            node.id
            for statement in self.tree.body
            if isinstance(statement, ast.Assign | ast.AnnAssign)
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        table = python_symbols(self.text, f"task file {self.path}")
        read: set[str] = set()
        for inner in table.get_children():
            if inner.get_name() not in GIVERS:
                read |= _globals_of(inner)
        return frozenset(variables & read)

    def _functions(self, names: tuple[str, ...]) -> Iterator[ast.FunctionDef]:
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef) and node.name in names:
                yield node


def told(path: Path, error: BaseException) -> str:
    """`file.py, line 3: ValueError: not today`."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    line = f", line {frames[-1].lineno}" if frames else ""
    lines = str(error).strip().splitlines()
    return f"{path}{line}: {type(error).__name__}: {lines[0] if lines else ''}"


def constructor_names(constructor: Callable[..., Any], count: int, where: str) -> tuple[str, ...]:
    """Names of the first `count` positional arguments. UserError when there are not as many."""
    with contextlib.suppress(ValueError, TypeError):
        parameters = list(inspect.signature(constructor).parameters.values())
        positional = [
            p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        if len(positional) >= count:
            return tuple(p.name for p in positional[:count])
    raise UserError(f"{where} takes no {count} positional arguments by name")


def _inputs(values: Any, drawn: Callable[[Any], Drawn]) -> tuple[Any, ...]:
    import torch

    items = values.values() if isinstance(values, Mapping) else values
    return tuple(drawn(v) if isinstance(v, torch.Tensor) else v for v in items)


def _init(values: Any) -> tuple[Any, ...]:
    if isinstance(values, Mapping):
        raise UserError("get_init_inputs must give a list of positional arguments, not a dict")
    return tuple(values)


def _integer(node: ast.AST) -> int:
    """The number that `node` is, 0 when it is none that a size could be."""
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value <= _LARGEST:
        return node.value
    return 0


def _globals_of(table: symtable.SymbolTable) -> set[str]:
    """Names that a class or function, or anything inside it, takes from its module."""
    found = {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()}
    return found.union(*(_globals_of(inner) for inner in table.get_children()))


def _assigned(node: ast.stmt) -> list[tuple[str, ast.Constant]]:
    """Names and numbers of `name = 16`, `height, width = 32, 32` and `shape = (64, 64)`."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = node.targets[0], node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        target, value = node.target, node.value
    else:
        return []
    sequence = value.elts if isinstance(value, ast.Tuple | ast.List) else None
    if isinstance(target, ast.Tuple) and sequence and len(target.elts) == len(sequence):
        pairs = [(t.id if isinstance(t, ast.Name) else "", v)
                 for t, v in zip(target.elts, sequence, strict=True)]  # fmt: skip
    elif isinstance(target, ast.Name):
        pairs = [(target.id, value)]
        if sequence is not None:
            pairs = [(f"{target.id}_{i}", v) for i, v in enumerate(sequence)]
    else:
        return []
    return [(n, v) for n, v in pairs if n and isinstance(v, ast.Constant) and _integer(v)]


class _Numbers(ast.NodeTransformer):
    """Puts other numbers where the file has integers that are sizes."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes

    def visit_Module(self, node: ast.Module) -> ast.AST:
        for statement in node.body:
            for name, constant in _assigned(statement):
                constant.value = self.sizes.get(name, _integer(constant))
            if isinstance(statement, ast.FunctionDef) and statement.name in GIVERS:
                self.generic_visit(statement)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        value = _integer(node)
        return ast.Constant(self.sizes.get(f"_{value}", value)) if value else node

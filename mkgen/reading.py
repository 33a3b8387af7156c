"""Reading what others wrote, within bounds: data, or a UserError that says what is wrong.

The standard parsers recurse as deep as an input nests, take quadratic time for some, and raise half
a dozen exceptions. Nothing here is ever executed: Python text becomes a syntax tree, no more.
"""

from __future__ import annotations

import ast
import json
import os
import re
import stat
import symtable
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkgen.errors import UserError

MAX_TOML_BYTES = 1 << 18
MAX_PYTHON_BYTES = 1 << 20
#: Tables, arrays and their like inside one another; real ones nest four deep.
MAX_NESTING = 40
#: Deeper syntax trees are refused, because whoever walks them recurses: files', expressions'.
MAX_TREE_DEPTH = {"exec": 250, "eval": 100}
_MAX_KEY_PARTS = 16
#: Parts of a dotted key, each bare or quoted; tomllib's time grows with the cube of their number.
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]{0,80}+"|'[^'\n]{0,80}+')"""
_LONG_KEY = re.compile(rf"(?<![\w.-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{_MAX_KEY_PARTS}}}")
_MAX_INTEGER = 1 << 63
#: Python opens the file it is told the text is from, to show a line of it: there is none.
NO_FILE = ""
_parsing = threading.Lock()
#: Times a text is parsed where libraries parse at the same time, outside our lock.
_ATTEMPTS = 5


def read_text(path: Path, what: str, most: int = MAX_PYTHON_BYTES) -> str:
    """The text of the file `path`, which `what` names. UserError, also for what is no UTF-8."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise UserError(f"{what}: not a regular file")
            data = file.read(most + 1)
    except OSError as error:
        raise UserError(f"{what}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the path
        raise UserError(f"{what}: {error}") from error
    if len(data) > most:
        raise UserError(f"{what}: more than {most} bytes")
    try:
        # lines as Path.read_text gives them
        return data.decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{what}: not UTF-8 text ({error})") from error


def toml(text: str, what: str) -> dict[str, Any]:
    """The TOML document `text`, which `what` names. UserError."""
    try:
        return toml_document(text)
    except ValueError as error:
        raise UserError(f"{what}: {error}") from error


def toml_document(text: str) -> dict[str, Any]:
    """The TOML document `text`. ValueError, also for what is too long, deep or large a number."""
    if len(text) > MAX_TOML_BYTES:
        raise ValueError(f"TOML of {len(text)} characters; {MAX_TOML_BYTES} are allowed")
    long = _LONG_KEY.search(text)
    if long:
        line = text.count("\n", 0, long.start()) + 1
        raise ValueError(f"a key of more than {_MAX_KEY_PARTS} parts (at line {line}, column 1)")
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {MAX_NESTING}") from error
    _check(document)
    return document


def json_value(data: str | bytes) -> Any:
    """The JSON value `data`. ValueError for whatever is wrong with it."""
    try:
        # bytes are UTF-8 here; json would guess, and load a codec for what looks like another
        return json.loads(data.decode() if isinstance(data, bytes) else data)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


def python_tree(text: str, what: str) -> ast.Module:
    """The syntax tree of a Python file. UserError names the line."""
    tree = _tree(text, what, "exec")
    assert isinstance(tree, ast.Module)
    return tree


def python_expression(text: str, what: str) -> ast.expr:
    """The syntax tree of a Python expression. UserError."""
    tree = _tree(text.strip(), what, "eval")
    assert isinstance(tree, ast.Expression)
    return tree.body


def module_tree(text: str) -> ast.Module:
    """`ast.parse`, with all that it raises, for a text that is bounded or our own."""
    tree = _parsed(text, "exec")
    assert isinstance(tree, ast.Module)
    return tree


def _parsed(text: str, mode: str) -> ast.AST:
    """CPython up to 3.12 counts the depth of two threads' trees as one: the first may then raise
    SystemError for a text that is fine ("AST constructor recursion depth mismatch").
    """
    with _parsing:
        for _ in range(_ATTEMPTS - 1):
            try:
                return ast.parse(text, NO_FILE, mode)
            except SystemError:
                continue
        return ast.parse(text, NO_FILE, mode)


def python_symbols(text: str, what: str) -> symtable.SymbolTable:
    """The names of a Python file by scope. UserError for what only the second look refuses."""
    try:
        return symtable.symtable(text, NO_FILE, "exec")
    except SyntaxError as error:
        raise UserError(f"{what}, line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{what}: {error or 'nested too deeply'}") from error


def _tree(text: str, what: str, mode: str) -> ast.AST:
    if len(text) > MAX_PYTHON_BYTES:
        raise UserError(f"{what}: {len(text)} characters; {MAX_PYTHON_BYTES} are allowed")
    try:
        tree = _parsed(text, mode)
    except SyntaxError as error:
        line = f", line {error.lineno}" if mode == "exec" else ""
        raise UserError(f"{what}{line}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        # a NUL or a lone surrogate; nesting that Python's own parser gives up on
        raise UserError(f"{what}: {error or 'nested too deeply'}") from error
    if _depth_exceeds(tree, MAX_TREE_DEPTH[mode]):
        raise UserError(f"{what}: nested deeper than {MAX_TREE_DEPTH[mode]}")
    return tree


def _depth_exceeds(tree: ast.AST, most: int) -> bool:
    layer: list[ast.AST] = [tree]
    for _ in range(most):
        layer = [child for node in layer for child in ast.iter_child_nodes(node)]
        if not layer:
            return False
    return True


def _check(document: dict[str, Any]) -> None:
    layer: list[Any] = [document]
    for _ in range(MAX_NESTING):
        layer = [inner for value in layer for inner in _inside(value)]
        for value in layer:
            if isinstance(value, int) and not -_MAX_INTEGER <= value < _MAX_INTEGER:
                raise ValueError(f"an integer of {value.bit_length()} bits; TOML's have 64")
        if not layer:
            return
    raise ValueError(f"nested deeper than {MAX_NESTING}")


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value

"""Importing what is no file's own content: a text, or a syntax tree with other numbers in it."""

from __future__ import annotations

import ast
import importlib.util
import sys
from importlib.abc import SourceLoader
from pathlib import Path
from types import CodeType, ModuleType


class GivenLoader(SourceLoader):
    """Imports `code` as if it stood in the file `path`, which errors then name."""

    def __init__(self, code: str | ast.Module, path: Path) -> None:
        self._code, self._path = code, path

    def get_filename(self, fullname: str) -> str:
        """The file that errors name."""
        return str(self._path)

    def get_data(self, path: str | bytes) -> bytes:
        """Nothing is read: there is no byte code, and the source is given."""
        raise OSError(f"{path!r} is not read")

    def get_code(self, fullname: str) -> CodeType:
        """The given code, compiled by import's own machinery."""
        given = self._code.encode() if isinstance(self._code, str) else self._code
        code: CodeType = self.source_to_code(given, str(self._path))  # type: ignore[arg-type]
        return code


def import_given(code: str | ast.Module, path: Path, name: str) -> ModuleType:
    """The module `name` made of `code`; it stays in `sys.modules`. Raises what the code raises."""
    spec = importlib.util.spec_from_file_location(name, path, loader=GivenLoader(code, path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module

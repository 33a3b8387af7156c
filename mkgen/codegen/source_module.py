"""The shipped module text as an imported Python module, and calls of its launcher."""

from __future__ import annotations

import importlib.util
import itertools
import linecache
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mkgen.errors import CompileError
from mkgen.program import GIVEN, Buffer, BufferRole, Program, Repeat

_count = itertools.count()


def write_source(program: Program, directory: Path) -> Path:
    """Writes the one source to `directory`: tracebacks name it, `@triton.jit` reads it."""
    source = program.sources[-1]
    directory.mkdir(parents=True, exist_ok=True)
    path = (directory / source.name).resolve()
    path.write_text(source.text)
    linecache.cache.pop(str(path), None)
    return path


class _Uncached(SourceFileLoader):
    """Reads the source each time: a byte-code cache would answer for a file of the same name and
    length that was written within the same second with other sizes."""

    def get_code(self, fullname: str) -> CodeType:
        """The file's code, compiled now."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def import_source(path: Path) -> ModuleType:
    """The module in the file `path`, under a name of its own.

    Raises CompileError with the line in the file when the import fails.
    """
    name = f"mkgen_program_{next(_count)}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Uncached(name, str(path)))
    if spec is None or spec.loader is None:
        raise CompileError(f"{path.name} is not a Python file that can be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise CompileError(f"{path.name}:{error.lineno}: {error.msg}", str(error)) from error
    except Exception as error:
        line = line_in(path, error)
        raise CompileError(
            f"{path.name}:{line}: import failed: {error}", traceback.format_exc()
        ) from error
    return module


def line_in(path: Path, error: BaseException) -> int:
    """The last line of the file `path` that `error` passed through; 0 when it never did."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return (lines[-1] or 0) if lines else 0


def launcher_of(module: ModuleType, program: Program) -> Callable[..., Any]:
    """The launcher function; CompileError when the module has none of that name."""
    launcher = getattr(module, program.launcher, None)
    if not callable(launcher):
        raise CompileError(
            f"{program.sources[-1].name} defines no function {program.launcher!r}; "
            "the launcher must have the program's name"
        )
    return launcher  # type: ignore[no-any-return]


def argument_buffers(program: Program) -> tuple[Buffer, ...]:
    """The buffers the launcher takes, in its order."""
    return program.with_role(*GIVEN)


def written_names(program: Program) -> set[str]:
    """Names of every buffer some launch writes, or a loop puts together."""
    loops = [step for step in program.steps if isinstance(step, Repeat)]
    stacked = {array for loop in loops for array, _ in loop.stacks}
    return stacked.union(*(launch.writes for launch in program.launches))


def mutated_states(program: Program) -> tuple[Buffer, ...]:
    """STATE buffers that some launch writes."""
    written = written_names(program)
    return tuple(b for b in program.with_role(BufferRole.STATE) if b.name in written)

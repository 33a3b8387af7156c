"""A file that defines `ModelNew`, KernelBench's form of a candidate, as programs."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import Generator
from mkgen.codegen.registry import backends
from mkgen.codegen.torch_module import CONSTRUCTION, LAUNCHER
from mkgen.document import content_hash
from mkgen.errors import UserError
from mkgen.evaluate.inputs import reference_call
from mkgen.foreign.native import MAX_FILE_BYTES
from mkgen.program import (
    Buffer,
    BufferRole,
    Dtype,
    Functional,
    Launch,
    PrecisionClass,
    Program,
    Source,
    Variant,
)
from mkgen.reading import module_tree
from mkgen.target import Target
from mkgen.task import Task, Workload

#: What the variant's `templates` of such a program say.
TEMPLATE = "module"
_CLASS = re.compile(rf"^class\s+{LAUNCHER}\b", re.MULTILINE)


@dataclass(frozen=True)
class ModuleFile:
    """A file that defines ModelNew; never imported here."""

    name: str
    text: str
    future: int
    """Lines at its beginning that must stay there: its docstring, `from __future__`."""


def holds_module(text: str) -> bool:
    """Whether `text` defines ModelNew."""
    return _CLASS.search(text) is not None


def read_module(path: Path) -> ModuleFile:
    """The file `path`. UserError when it is no Python that defines ModelNew."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{path}: a kernel file has at most {MAX_FILE_BYTES} bytes")
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    return parse_module(text, path.name)


def parse_module(text: str, name: str) -> ModuleFile:
    """The file with this text. UserError when it is no Python that defines ModelNew."""
    if len(text) > MAX_FILE_BYTES:
        raise UserError(f"{name}: a kernel file has at most {MAX_FILE_BYTES} bytes")
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    try:
        tree = module_tree(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise UserError(f"{name}, line {line}: {error.args[0]}") from error
    if not any(isinstance(n, ast.ClassDef) and n.name == LAUNCHER for n in tree.body):
        raise UserError(f"{name}: it defines no class {LAUNCHER}")
    future = 0
    for statement in tree.body:
        docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        imports = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if not (docstring or imports):
            break
        future = statement.end_lineno or future
    return ModuleFile(name, text, future)


@dataclass(frozen=True)
class ModuleCandidate:
    """One ModelNew file on one target."""

    task: Task
    backend: Backend
    target: Target
    precision: PrecisionClass
    module: ModuleFile
    allow_library: bool = False
    """Whether a library may compute it: then it need launch no kernel of its own."""
    origin: str = "module"

    @property
    def text(self) -> str:
        """The file as its author wrote it."""
        return self.module.text

    @property
    def file(self) -> str:
        """Its name."""
        return self.module.name

    @cached_property
    def _generator(self) -> Generator:
        return Generator(self.task, self.backend, self.target, self.precision)

    def program(self, workload: Workload) -> Program:
        """The file, with what it is constructed from at the sizes of `workload`."""
        graph = self._generator.graph
        values = graph.sizes(workload.sizes)
        reference = reference_call(self.task, workload.sizes)
        given = self._given(workload, reference.parameters)
        outputs = tuple(
            Buffer(
                name=name,
                dtype=cast(Dtype, graph.tensors[name].dtype),
                shape=graph.shape(name, values),
                role=BufferRole.OUTPUT,
            )
            for name in graph.outputs
        )
        sizes = self._construction(workload, reference.call, reference.names)
        lines = self.module.text.split("\n")
        head = "".join(f"{line}\n" for line in lines[: self.module.future])
        name = f"{self.task.name}.py"
        reads = tuple(buffer.name for buffer in given)
        writes = (*graph.outputs, *graph.written_state())
        return Program(
            task=self.task.name,
            task_hash=self.task.hash,
            workload=workload.name,
            target=self.target,
            precision=self.precision,
            sources=(
                Source(
                    name=name, language="python", head="", preamble=head, sizes=sizes,
                    body="\n".join(lines[self.module.future :]),
                ),
            ),
            buffers=(*given, *outputs),
            steps=(
                Launch(
                    source=name, entry=LAUNCHER, args=tuple(dict.fromkeys((*reads, *writes))),
                    reads=reads, writes=writes, configuration=Functional(),
                ),
            ),
            variant=Variant(
                templates=(TEMPLATE,),
                parameters={
                    "file": content_hash(self.module.text)[:16],
                    **({"library": True} if self.allow_library else {}),
                },
                index_bits=self._generator.index_bits(),
            ),
            launcher=LAUNCHER,
            constants=dict(workload.sizes),
        )  # fmt: skip

    def _given(self, workload: Workload, parameters: Mapping[str, Any]) -> tuple[Buffer, ...]:
        """Inputs, then everything that the reference holds."""
        tensors = self._generator.graph.tensors
        inputs = [
            Buffer(
                name=name,
                dtype=tensor.dtype,
                shape=tensor.resolve(workload.sizes),
                role=BufferRole.INPUT,
            )
            for name, tensor in self.task.inputs.items()
        ]
        held = [
            Buffer(
                name=name,
                dtype=cast(Dtype, array.dtype.name),
                shape=tuple(array.shape),
                role=BufferRole(tensors[name].role) if name in tensors else BufferRole.PARAMETER,
            )
            for name, array in parameters.items()
        ]
        return (*inputs, *held)

    def _construction(self, workload: Workload, call: Any, names: Mapping[str, str]) -> str:
        """The block of sizes: what ModelNew is constructed with, and its parameters' names."""
        import inspect

        takes = inspect.isclass(self.task.reference)
        arguments = self.task.arguments(workload.sizes) if takes else {}
        kept = set(call.state_dict()) if names else set()
        value = {
            "arguments": arguments,
            "parameters": dict(names),
            "optional": [dotted for dotted in names.values() if dotted not in kept],
        }
        try:
            if ast.literal_eval(repr(value)) != value:
                raise ValueError
        except (ValueError, SyntaxError):
            raise UserError(
                f"task {self.task.name}: its module is constructed with {arguments!r}, which "
                "cannot be written as numbers, strings and tuples"
            ) from None
        return f"{CONSTRUCTION} = {value!r}\n"


def module_candidate(
    task: Task,
    backend: Backend,
    target: Target,
    module: ModuleFile,
    precision: PrecisionClass,
    *,
    allow_library: bool = False,
) -> ModuleCandidate:
    """`module` as a candidate; UserError where the backend does not run such files."""
    if not backend.runs_modules:
        able = ", ".join(name for name, b in backends().items() if b.runs_modules)
        raise UserError(f"{backend.name} does not run ModelNew files; those that do: {able}")
    return ModuleCandidate(task, backend, target, precision, module, allow_library)

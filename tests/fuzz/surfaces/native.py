"""Native kernel files: the head, its expressions, and the program that is made of both."""

from __future__ import annotations

import contextlib
from functools import cache
from typing import Any
from unittest.mock import patch

from mkgen.codegen.candidate import Generator
from mkgen.codegen.registry import backend_named
from mkgen.document import canonical_json
from mkgen.errors import UserError
from mkgen.foreign import native_program
from mkgen.foreign.native import Native, holds_native, parse_native
from mkgen.foreign.native_program import source_candidate
from mkgen.target import Target
from mkgen.task import Task, find_task

from ..surface import Surface, files

_TASKS = ("softmax", "matmul", "bias_gelu")
_BACKENDS = ("cuda", "hip", "opencl", "sycl", "triton", "pallas")


@cache
def _task(name: str) -> Task:
    return find_task(name)


@cache
def _generators() -> dict[tuple[str, str], Generator]:
    """Made beforehand: to trace a task is to run it."""
    found = {}
    for backend in map(backend_named, _BACKENDS):
        target = Target(backend=backend.name, arch=backend.default_arch)
        for task in map(_task, _TASKS):
            found[backend.name, task.name] = Generator(task, backend, target, task.precision)
    return found


def _generator(task: Task, backend: Any, target: Target, precision: Any) -> Generator:
    return _generators()[backend.name, task.name]


def target(data: bytes) -> None:
    text = data.decode(errors="replace")  # a file is UTF-8, or it is refused before
    holds_native(text)
    try:
        native = parse_native(text, "k.hip")
    except UserError:
        return
    assert native.text.endswith(native.code)
    with contextlib.suppress(UserError):
        _use(native)


def _use(native: Native) -> None:
    task = _task(native.head.task if native.head.task in _TASKS else "softmax")
    generator = _generators().get((native.head.backend, task.name))
    if generator is None:
        return
    candidate = source_candidate(task, generator.backend, generator.target, native, task.precision)
    with patch.object(native_program, "Generator", _generator):
        for workload in task.workloads()[:2]:
            program = candidate.program(workload)
            canonical_json(program.model_dump(mode="json"))


def seeds() -> list[bytes]:
    _generators()
    return [data for data in files("tests/data/native/*") if b"mkgen\n" in data[:400]]


SURFACE = Surface(
    "native", target, seeds, "native",
    (b"task", b"backend", b"entry", b"args", b"grid", b"block", b"shared", b"sub_group", b"warps",
     b"stages", b"constexprs", b"temporary", b"launch", b"name", b"dtype", b"shape", b"ROWS",
     b"COLS", b"/* mkgen\n", b"# mkgen\n", b"*/\n", b"#", b"// ", b"cuda", b"hip", b"opencl",
     b"sycl", b"triton", b"pallas", b"x", b"y"),
)  # fmt: skip

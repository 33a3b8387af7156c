"""Runs the shipped module on the CPU through Triton's interpreter, launcher included."""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

from mkgen.codegen.backend import Arrays, Executor, Loaded, Role
from mkgen.codegen.source_module import import_source, launcher_of, write_source
from mkgen.errors import ExecutionError
from mkgen.fence import FENCED
from mkgen.program import Artifact, Program
from mkgen.record import EvidenceKind, RanOn
from mkgen_triton.arrays import check_unchanged, collect, make_arguments, to_numpy
from mkgen_triton.guards import GuardedArguments, Guards, guarded_allocations
from mkgen_triton.probe import REMEDY, installed, interpreter_problem, library_sha

#: Runs the program instances of a grid from the last to the first.
REVERSE = "reverse"


class InterpreterExecutor(Executor):
    """`TRITON_INTERPRET=1`: one program instance after another, blocks as numpy arrays."""

    name: ClassVar[str] = "triton-interpreter"
    kind: ClassVar[EvidenceKind] = EvidenceKind.EMULATED
    role: ClassVar[Role] = "emulate"
    needs_artifact: ClassVar[bool] = False
    cannot_see: ClassVar[tuple[str, ...]] = (
        "the machine code of the target and its register and shared memory use",
        "races between program instances that run at the same time",
        "reads out of bounds that hit other live memory, or less than 16 bytes past a tensor",
        "the rounding of exp, log and division on the device, and FMA contraction",
        "TF32, bf16x6 and other modes of tl.dot that are not float32: numpy multiplies in full",
        "bfloat16 arithmetic beside tl.dot: wrong where the text does not upcast first",
        "speed, occupancy, full sizes",
    )
    schedules: ClassVar[tuple[str, ...]] = ("", REVERSE, FENCED)

    def accepts(self, program: Program) -> str | None:
        """None in an `emulate` worker with Triton and PyTorch installed."""
        for package in ("triton", "torch"):
            if installed(package) is None:
                return f"{package} is not installed; {REMEDY}"
        if os.environ.get("TRITON_INTERPRET") != "1":
            return "TRITON_INTERPRET=1 must be set before Triton is imported (role `emulate`)"
        return interpreter_problem()

    def ran_on(self) -> RanOn:
        """This CPU."""
        return RanOn(vendor="cpu", arch=platform.machine(), name=platform.processor() or "CPU")

    def compiler(self) -> tuple[str, str]:
        """The interpreter is part of Triton's Python package; the hash is libtriton's."""
        return f"triton {installed('triton')} interpreter", library_sha()

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """Imports the module text from `directory`."""
        reason = self.accepts(program)
        if reason:
            raise ExecutionError(f"{self.name}: {reason}")
        module = import_source(write_source(program, directory))
        return Interpreted(program, launcher_of(module, program))


class Interpreted(Loaded):
    """A launcher whose kernels are interpreted."""

    def __init__(self, program: Program, launcher: Callable[..., Any]) -> None:
        self._program = program
        self._launcher = launcher
        self._arguments = GuardedArguments()

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """Runs the launcher on guarded copies; memory it allocates is poisoned and guarded too.

        Raises ExecutionError when a kernel fails, writes out of bounds or changes an input.
        """
        fenced = schedule == FENCED
        made = make_arguments(self._program, inputs)
        given_guards, arguments = self._arguments.hold(made, fenced)
        guards = Guards(fenced)
        given = {name: tensor.clone() for name, tensor in arguments.items()}
        with (
            _order(schedule),
            _as_compiled(),
            _patched_once(),
            _overflow(schedule == FENCED),
            guarded_allocations(guards),
            np.errstate(all="ignore"),
        ):
            try:
                returned = self._launcher(*arguments.values())
            except Exception as error:
                cause = error.__cause__ or error
                raise ExecutionError(
                    f"{self._program.launcher} failed in Triton's interpreter: "
                    f"{type(cause).__name__}: {cause}"
                ) from error
        guards.check()
        given_guards.check()
        before = {name: to_numpy(tensor) for name, tensor in given.items()}
        check_unchanged(self._program, before, arguments)
        return collect(self._program, returned, arguments)

    def rest(self) -> None:
        """Gives up the arguments' memory."""
        self._arguments.rest()


@contextmanager
def interpreting() -> Iterator[None]:
    """Triton's interpreter as the compilers are where they differ, for texts that launch it."""
    with _as_compiled(), _patched_once(), np.errstate(all="ignore"):
        yield


@contextmanager
def _as_compiled() -> Iterator[None]:
    """Lets tl.dot take what the compilers take, and rounds to bfloat16 as they do: to nearest.

    The interpreter holds bfloat16 as bits: it would multiply those, and cuts float32 off to them.
    It refuses to split a product into several of bfloat16.
    """
    interpreter: Any = importlib.import_module("triton.runtime.interpreter")
    builder, language = interpreter.interpreter_builder, importlib.import_module("triton.language")
    multiply, cast = builder.create_dot, builder.cast_impl

    def widened(handle: Any) -> Any:
        if handle.dtype.scalar != language.bfloat16:
            return handle
        bits = handle.data.astype(np.uint32) << np.uint32(16)
        return interpreter.TensorHandle(bits.view(np.float32), language.float32)

    def create_dot(a: Any, b: Any, *rest: Any) -> Any:
        return multiply(widened(a), widened(b), *rest)

    def cast_impl(handle: Any, dtype: Any) -> Any:
        if (handle.dtype.scalar, dtype.scalar) != (language.float32, language.bfloat16):
            return cast(handle, dtype)
        bits = handle.data.astype(ml_dtypes.bfloat16).view(np.uint16)
        return interpreter.TensorHandle(bits, dtype.scalar)

    options = builder.options
    known = options.allowed_dot_input_precisions
    builder.options = replace(options, allowed_dot_input_precisions=(*known, "bf16x3", "bf16x6"))
    builder.create_dot, builder.cast_impl = create_dot, cast_impl
    try:
        yield
    finally:
        del builder.create_dot, builder.cast_impl
        builder.options = options


@contextmanager
def _patched_once() -> Iterator[None]:
    """Patches Triton's language once per launch and device function, not at every call of one.

    The interpreter does so each time a kernel calls tl.sum, which is a third of what it does.
    """
    interpreter: Any = importlib.import_module("triton.runtime.interpreter")
    patch = interpreter._patch_lang
    seen: set[Any] = set()

    def patch_once(fn: Any) -> Any:
        if fn in seen:
            return interpreter._LangPatchScope()
        seen.add(fn)
        scope = patch(fn)
        restore = scope.restore

        def restore_all() -> None:  # the launch ends: the next one patches again
            seen.clear()
            restore()

        scope.restore = restore_all
        return scope

    interpreter._patch_lang = patch_once
    try:
        yield
    finally:
        interpreter._patch_lang = patch


@contextmanager
def _overflow(watched: bool) -> Iterator[None]:
    """Whether signed overflow is an error; it is the same in every order, so once is enough.

    It takes a quarter of the time.
    """
    interpreter: Any = importlib.import_module("triton.runtime.interpreter")
    builder = interpreter.interpreter_builder
    options = builder.options
    builder.options = replace(options, sanitize_overflow=watched)
    try:
        yield
    finally:
        builder.options = options


@contextmanager
def _order(schedule: str) -> Iterator[None]:
    """Runs grids first to last (``""``) or last to first; ExecutionError for another schedule."""
    if schedule not in InterpreterExecutor.schedules:
        raise ExecutionError(f"triton-interpreter has no schedule {schedule!r}")
    if schedule != REVERSE:
        yield
        return
    interpreter: Any = importlib.import_module("triton.runtime.interpreter")
    builder = interpreter.interpreter_builder
    forward = builder.set_grid_idx

    def backward(x: int, y: int, z: int) -> None:
        forward(*(n - 1 - i for n, i in zip(builder.grid_dim, (x, y, z), strict=True)))

    builder.set_grid_idx = backward
    try:
        yield
    finally:
        del builder.set_grid_idx

"""ModelNew files whose kernels are Triton's: in its interpreter, and on a GPU."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

from mkgen.codegen.backend import Role
from mkgen.codegen.torch_module import Launches, TorchModuleExecutor, counted_calls, profiled
from mkgen.program import Program
from mkgen.record import EvidenceKind, RanOn
from mkgen_triton.device import DeviceExecutor, settle
from mkgen_triton.interpreter import InterpreterExecutor, interpreting
from mkgen_triton.probe import REMEDY, installed, interpreter_problem


class ModuleInterpreter(TorchModuleExecutor):
    """PyTorch on the CPU, kernels in Triton's interpreter."""

    name: ClassVar[str] = "triton-module-interpreter"
    kind: ClassVar[EvidenceKind] = EvidenceKind.EMULATED
    role: ClassVar[Role] = "emulate"
    needs_artifact: ClassVar[bool] = False
    device: ClassVar[str] = "cpu"
    cannot_see: ClassVar[tuple[str, ...]] = (
        *InterpreterExecutor.cannot_see, "writes out of bounds that hit other live memory"
    )  # fmt: skip

    def refusal(self, program: Program) -> str | None:
        """None in an `emulate` worker with Triton installed."""
        if installed("triton") is None:
            return f"triton is not installed; {REMEDY}"
        if os.environ.get("TRITON_INTERPRET") != "1":
            return "TRITON_INTERPRET=1 must be set before Triton is imported (role `emulate`)"
        return interpreter_problem()

    def counting(self, program: Program) -> AbstractContextManager[Launches]:
        """By the launches that the interpreter makes."""
        return _interpreted()


@contextmanager
def _interpreted() -> Iterator[Launches]:
    interpreter: Any = importlib.import_module("triton.runtime.interpreter")
    with interpreting(), counted_calls(interpreter.GridExecutor, "__call__") as launches:
        yield launches


@contextmanager
def _compiled() -> Iterator[Launches]:
    jit: Any = importlib.import_module("triton.runtime.jit")
    with profiled("cuda") as seen, counted_calls(jit.JITFunction, "run") as launches:
        yield seen
        seen.count += launches.count


class ModuleDevice(TorchModuleExecutor):
    """PyTorch on GPU 0, kernels by Triton's JIT."""

    name: ClassVar[str] = "triton-module-device"
    kind: ClassVar[EvidenceKind] = EvidenceKind.DEVICE
    role: ClassVar[Role] = "device"
    needs_artifact: ClassVar[bool] = True
    device: ClassVar[str] = "cuda"
    cannot_see: ClassVar[tuple[str, ...]] = DeviceExecutor.cannot_see

    def refusal(self, program: Program) -> str | None:
        """None when GPU 0 has the program's arch."""
        return DeviceExecutor().accepts(program)

    def counting(self, program: Program) -> AbstractContextManager[Launches]:
        """By the launches that the JIT makes; a profiler tells on which streams."""
        return _compiled()

    def ran_on(self) -> RanOn:
        """GPU 0."""
        return DeviceExecutor().ran_on()

    def settle(self) -> None:
        """See TorchModuleExecutor.settle."""
        settle()

    def clock_command(self) -> tuple[str, ...]:
        """See Executor.clock_command."""
        return DeviceExecutor().clock_command()

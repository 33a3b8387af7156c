"""Runs the shipped module on the CPU in Pallas' interpret modes, launcher included, unchanged."""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mkgen.codegen.backend import Arrays, Executor, Loaded, Role
from mkgen.codegen.source_module import import_source, launcher_of, write_source
from mkgen.errors import ExecutionError, RefusedError
from mkgen.program import Artifact, Program
from mkgen.record import EvidenceKind, RanOn
from mkgen_pallas.archs import ARCHS
from mkgen_pallas.arrays import collect, make_arguments
from mkgen_pallas.compiling import launches_itself
from mkgen_pallas.numerics import rounded_dots, sum_by_halves
from mkgen_pallas.probe import REMEDY, installed, library_sha
from mkgen_pallas.strays import strays_shown

#: A TPU's memories simulated, and grid axes declared `parallel` run in random order. About 3 ms a
#: grid step, so for check sizes; the plain mode takes microseconds a step on small arrays.
SHUFFLED = "shuffled"
#: The first with which no parallel axis of 2 to 8 programs begins with its first one (of up to four
#: such axes): a sum over an axis wrongly declared parallel then meets a total nobody has set.
SEED = 4
_ORDER = "the order in which a sum adds its terms: here one half of them to the other, and so on"
WIDTHS = "values beyond 32 bits: JAX narrows int64 to int32 (cast here, refused when one overflows)"


class _Interpreter(Executor):
    kind: ClassVar[EvidenceKind] = EvidenceKind.EMULATED
    role: ClassVar[Role] = "emulate"
    needs_artifact: ClassVar[bool] = False
    for_tpu: ClassVar[bool]
    dot_bits: ClassVar[int]
    """Of float32 operands, mantissa bits that a dot of default precision keeps on the target."""

    def accepts(self, program: Program) -> str | None:
        """None in an `emulate` worker with JAX installed, for this executor's kind of arch."""
        if installed("jax") is None:
            return f"jax is not installed; {REMEDY}"
        arch = ARCHS.get(program.target.arch)
        if arch is None or arch.is_tpu != self.for_tpu:
            return f"{self.name} does not interpret text for {program.target.arch}"
        if any(b.dtype == "float64" for b in program.buffers):
            return "JAX rounds float64 to float32; use a backend that has float64"
        empty = next((b.name for b in program.buffers if 0 in b.shape), None)
        if empty is not None:
            return f"{empty} has no elements, and Pallas has no blocks without any"
        if os.environ.get("JAX_PLATFORMS") != "cpu":
            return "JAX_PLATFORMS=cpu must be set before JAX is imported (role `emulate`)"
        return None

    def orders(self, program: Program) -> tuple[str, ...]:
        """No order but the written one where no grid axis is declared parallel."""
        declared = any('"parallel"' in source.body for source in program.sources)
        return self.schedules if declared else self.schedules[:1]

    def ran_on(self) -> RanOn:
        """This CPU."""
        return RanOn(vendor="cpu", arch=platform.machine(), name=platform.processor() or "CPU")

    def compiler(self) -> tuple[str, str]:
        """JAX turns the kernel into XLA operations; the hash is jaxlib's."""
        return f"jax {installed('jax')} interpret mode (XLA for CPU)", library_sha("jaxlib")

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """Imports the module text from `directory`."""
        return Interpreted(program, self.launcher(program, directory), self)

    def launcher(self, program: Program, directory: Path) -> Callable[..., Any]:
        """The launcher of the module text, imported from `directory`."""
        reason = self.accepts(program)
        if reason:
            raise ExecutionError(f"{self.name}: {reason}")
        with rounded_dots(self.dot_bits):  # a module may import dot_general by its name
            return launcher_of(import_source(write_source(program, directory)), program)


class TpuText(_Interpreter):
    """What simulates a TPU."""

    for_tpu: ClassVar[bool] = True
    dot_bits: ClassVar[int] = 7


class InterpreterExecutor(TpuText):
    """Text for a TPU."""

    name: ClassVar[str] = "pallas-interpreter"
    schedules: ClassVar[tuple[str, ...]] = ("", SHUFFLED)
    cannot_see: ClassVar[tuple[str, ...]] = (
        "the machine code of the target",
        "what interpret mode does not enforce: VMEM size, block shapes in multiples of (8, 128), "
        "operations and dtypes Mosaic refuses (the compile shows these)",
        "the rounding of exp, log, erf and division on the TPU, and of its matrix unit, but that "
        "dots of default precision round float32 operands to bfloat16 here as there",
        _ORDER,
        WIDTHS,
        "DMA timing and races between the cores of a chip",
        "speed, full sizes",
    )


class GpuInterpreterExecutor(_Interpreter):
    """Text for Pallas' Triton lowering."""

    name: ClassVar[str] = "pallas-gpu-interpreter"
    for_tpu: ClassVar[bool] = False
    dot_bits: ClassVar[int] = 10
    cannot_see: ClassVar[tuple[str, ...]] = (
        "the machine code of the target, its registers and shared memory",
        "races between programs: the grid runs in order here, all at once on a GPU",
        "what interpret mode does not enforce: power-of-two blocks, no scratch, operations that "
        "the Triton lowering refuses (the compile shows these)",
        "the rounding of exp, log and division on the GPU, and of its matrix unit, but that dots "
        "of default precision round float32 operands to TF32 here as there",
        _ORDER,
        WIDTHS,
        "speed, full sizes",
    )


class Interpreted(Loaded):
    """A launcher whose kernels are interpreted."""

    def __init__(
        self,
        program: Program,
        launcher: Callable[..., Any],
        executor: _Interpreter,
    ) -> None:
        self._program = program
        self._launcher = launcher
        self._executor = executor.name
        self._schedules = executor.schedules
        self._dot_bits = executor.dot_bits

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """Runs the launcher on copies of `inputs`; memory no kernel wrote is NaN in both modes.

        Raises ExecutionError when the launcher or a kernel fails.
        """
        if schedule not in self._schedules:
            raise ExecutionError(f"{self._executor} has no schedule {schedule!r}")
        with _interpreted(schedule):
            return self._called(inputs)

    def _called(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Runs the launcher in the mode that holds."""
        jax: Any = importlib.import_module("jax")
        arguments = make_arguments(self._program, inputs)
        sum_by_halves()
        with rounded_dots(self._dot_bits), strays_shown():
            try:
                if launches_itself(self._program):
                    _require_kernels(self._program, self._launcher, arguments)
                # A new jit for each run: no trace of the other mode may answer for this one.
                returned = jax.block_until_ready(jax.jit(_fresh(self._launcher))(*arguments))
            except RefusedError:
                raise
            except Exception as error:
                raise ExecutionError(
                    f"{self._program.launcher} failed in {self._executor}: "
                    f"{type(error).__name__}: {error}"
                ) from error
        return collect(self._program, returned)


def _fresh(launcher: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        return launcher(*arguments)

    return call


#: What a function may do to arrays outside its kernels: arrange them, and call what does.
_ARRANGING = frozenset(
    ("pallas_call", "reshape", "transpose", "pad", "broadcast_in_dim", "convert_element_type",
     "slice", "dynamic_slice", "dynamic_update_slice", "squeeze", "expand_dims", "concatenate",
     "rev", "bitcast_convert_type", "copy", "copy_p", "iota", "jit", "pjit", "closed_call",
     "core_call", "custom_jvp_call", "custom_vjp_call", "scan", "while", "cond", "split",
     "stop_gradient", "full", "empty")
)  # fmt: skip


def _require_kernels(program: Program, launcher: Callable[..., Any], arguments: list[Any]) -> None:
    """RefusedError when no result of `launcher` depends on a kernel that it calls.

    Or when it computes with arrays outside its kernels, unless a library may do its work.
    """
    if program.variant.parameters.get("library"):
        return
    jax: Any = importlib.import_module("jax")
    core: Any = importlib.import_module("jax._src.interpreters.partial_eval")
    jaxpr = jax.make_jaxpr(_fresh(launcher))(*arguments).jaxpr
    live, _ = core.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    found = dict(_primitives(live))
    if "pallas_call" not in found:
        raise RefusedError("no kernel of its own ran: what it returns depends on no pallas_call")
    others = sorted(name for name, size in found.items() if size > 1 and name not in _ARRANGING)
    if others:
        raise RefusedError(
            f"it computes outside its kernels: {', '.join(others)}; there arrays are only arranged"
        )


def _primitives(jaxpr: Any) -> Iterator[tuple[str, int]]:
    """Operations of `jaxpr` and of what it calls, kernels aside: name, elements of the result."""
    for equation in sorted(jaxpr.eqns, key=_elements):  # the largest of a name comes last
        yield equation.primitive.name, _elements(equation)
        if equation.primitive.name != "pallas_call":
            for value in equation.params.values():
                for inner in value if isinstance(value, tuple | list) else (value,):
                    if hasattr(getattr(inner, "jaxpr", inner), "eqns"):
                        yield from _primitives(getattr(inner, "jaxpr", inner))


def _elements(equation: Any) -> int:
    return max((int(np.prod(v.aval.shape)) for v in equation.outvars), default=0)


@contextmanager
def _interpreted(schedule: str) -> Iterator[None]:
    """Forces every pallas_call traced inside into interpret mode.

    `force_tpu_interpret_mode(True)` is `interpret=True` for all of them, whatever text they are in.
    """
    tpu: Any = importlib.import_module("jax.experimental.pallas.tpu")
    if schedule != SHUFFLED:
        with tpu.force_tpu_interpret_mode(True):
            yield
        return
    mode = tpu.InterpretParams(
        uninitialized_memory="nan", out_of_bounds_reads="raise", random_seed=SEED
    )
    try:
        with tpu.force_tpu_interpret_mode(mode):
            yield
    except ExecutionError:
        # The simulated memories outlive a failed kernel and would fail the next one.
        tpu.reset_tpu_interpret_mode_state()
        raise

"""Runs the shipped launcher on a TPU, or on an NVIDIA GPU as a proxy, through JAX."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mkgen.codegen.backend import Arrays, Executor, Loaded, Role
from mkgen.codegen.source_module import import_source, launcher_of, write_source
from mkgen.codegen.timer import Bracket, Timer, rolled, rolling
from mkgen.errors import ExecutionError
from mkgen.program import Artifact, Program
from mkgen.record import EvidenceKind, RanOn
from mkgen_pallas.archs import ARCHS, PallasArch, find_arch, gpu_binaries
from mkgen_pallas.arrays import collect, make_arguments
from mkgen_pallas.compiling import compiler_name, program_of, read_cubins
from mkgen_pallas.probe import REMEDY, installed, library_sha
from mkgen_pallas.strays import STRAYS, strays_shown

#: Bytes written between timed runs on a GPU: over three times the largest L2 (B200, 126 MB).
FLUSH_BYTES = 400_000_000


def device_arch() -> PallasArch | None:
    """The arch of JAX's first device, or None when the backend has none for it."""
    jax: Any = importlib.import_module("jax")
    device = jax.devices()[0]
    if device.platform == "gpu":
        return ARCHS.get(f"sm_{str(device.compute_capability).replace('.', '')}")
    kinds = {a.device_kind: a for a in ARCHS.values() if a.is_tpu}
    return kinds.get(device.device_kind) if device.platform == "tpu" else None


class _Device(Executor):
    role: ClassVar[Role] = "device"
    for_tpu: ClassVar[bool]

    def accepts(self, program: Program) -> str | None:
        """None when JAX's first device has the program's arch."""
        if installed("jax") is None:
            return f"jax is not installed; {REMEDY}"
        wanted = ARCHS.get(program.target.arch)
        if wanted is None or wanted.is_tpu != self.for_tpu:
            return f"{self.name} does not run text for {program.target.arch}"
        if any(b.dtype == "float64" for b in program.buffers):
            return "JAX rounds float64 to float32; use a backend that has float64"
        here = device_arch()
        if here is None:
            package = "jax[tpu]" if self.for_tpu else "jax[cuda13]"
            where = "a TPU VM" if self.for_tpu else "a machine with such a GPU"
            return f"JAX sees no {wanted.arch.name} here; on {where}: pip install '{package}'"
        if here is not wanted:
            return f"the device is {here.arch.name}, the program is for {wanted.arch.name}"
        return None

    def ran_on(self) -> RanOn:
        """JAX's first device."""
        jax: Any = importlib.import_module("jax")
        arch = device_arch()
        if arch is None:
            raise ExecutionError("JAX sees no device of an arch of this backend")
        vendor = "google" if arch.is_tpu else "nvidia"
        return RanOn(vendor=vendor, arch=arch.arch.name, name=jax.devices()[0].device_kind)

    def compiler(self) -> tuple[str, str]:
        """What JAX compiles with here."""
        arch = device_arch()
        if arch is None:
            raise ExecutionError("JAX sees no device of an arch of this backend")
        return compiler_name(arch), library_sha("libtpu" if arch.is_tpu else "cuda")

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """Imports the module text from `directory`."""
        reason = self.accepts(program)
        if reason:
            raise ExecutionError(f"{self.name}: {reason}")
        path = write_source(program, directory)
        launcher, watched = launcher_of(import_source(path), program), None
        if STRAYS in self.schedules:
            # JAX remembers a kernel's trace by its function: the instrumented run needs its own
            watched = launcher_of(import_source(path), program)
        return OnDevice(program, launcher, artifact, find_arch(program.target.arch), watched)


class TpuExecutor(_Device):
    """A TPU of the program's own arch."""

    name: ClassVar[str] = "pallas-tpu"
    kind: ClassVar[EvidenceKind] = EvidenceKind.DEVICE
    needs_artifact: ClassVar[bool] = True
    for_tpu: ClassVar[bool] = True
    cannot_see: ClassVar[tuple[str, ...]] = (
        "other devices of the same arch, other libtpu versions",
        "times well below JAX's dispatch, some tens of microseconds",
    )


class GpuExecutor(_Device):
    """An NVIDIA GPU, reached through Pallas' Triton lowering."""

    name: ClassVar[str] = "pallas-gpu"
    kind: ClassVar[EvidenceKind] = EvidenceKind.PROXY
    needs_artifact: ClassVar[bool] = False
    for_tpu: ClassVar[bool] = False
    schedules: ClassVar[tuple[str, ...]] = ("", STRAYS)
    cannot_see: ClassVar[tuple[str, ...]] = (
        "any TPU",
        "the shipped artifact, where JAX compiled the source to other machine code",
        "accesses out of bounds without a mask that hit other live memory",
        "times well below JAX's dispatch, some tens of microseconds",
    )


class OnDevice(Loaded):
    """A launcher that JAX compiles for the device it runs on.

    After a run `matches_artifact` says whether the machine code is the artifact's (None without
    one), and `detail` says the same for people. When it differs the source ran, not the artifact.
    """

    def __init__(
        self,
        program: Program,
        launcher: Callable[..., Any],
        artifact: Artifact | None,
        arch: PallasArch,
        watched: Callable[..., Any] | None = None,
    ) -> None:
        """`watched`: the launcher once more, where runs can show accesses beside arrays."""
        jax: Any = importlib.import_module("jax")
        self.program = program
        self._jitted, self._watched = jax.jit(launcher), jax.jit(watched) if watched else None
        self._compiled: Any = None
        self._artifact = artifact
        self._arch = arch
        self.matches_artifact: bool | None = None
        self.detail = "nothing ran yet"

    def ready(self, inputs: Arrays) -> tuple[list[Any], Any]:
        """Arguments on the device and the compiled launcher; ExecutionError when it is refused."""
        jax: Any = importlib.import_module("jax")
        arguments = [jax.device_put(a) for a in make_arguments(self.program, inputs)]
        if self._compiled is None:
            try:
                self._compiled = self._jitted.lower(*arguments).compile()
            except Exception as error:
                raise ExecutionError(f"{self.program.launcher}: refused: {error}") from error
            self._compare(self._compiled.runtime_executable().serialize())
        return arguments, self._compiled

    def _compare(self, executable: bytes) -> None:
        if self._artifact is None:
            self.detail = "JAX compiled the source; there was no artifact to compare it with"
            return
        if self._arch.is_tpu:
            shipped = [Path(self._artifact.path).read_bytes()]
            ran = [program_of(executable, self._arch)]
        elif self._artifact.format == "xla":
            shipped, ran = [Path(self._artifact.path).read_bytes()], [executable]
        else:
            shipped, ran = read_cubins(self._artifact), gpu_binaries(executable)
        self.matches_artifact = shipped == ran
        self.detail = (
            "JAX compiled the source to the artifact's own machine code (equal bytes)"
            if self.matches_artifact
            else "JAX compiled the source to other machine code than the artifact's "
            f"({self._artifact.compiler}): the source ran, not the artifact"
        )

    def ran_other(self) -> str:
        """See Loaded.ran_other."""
        return self.detail if self.matches_artifact is False else ""

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """Runs the launcher once. JAX gives no way to poison its output buffers.

        Nor to put anything beside them: with the schedule `STRAYS` the kernels are compiled once
        more so that they themselves show what they do there.
        """
        jax: Any = importlib.import_module("jax")
        watched = self._watched if schedule == STRAYS else None
        if schedule and watched is None:
            raise ExecutionError(f"this executor has no schedule {schedule!r}")
        arguments, run = self.ready(inputs)
        try:
            if watched is not None:
                with strays_shown():
                    returned = jax.block_until_ready(watched(*arguments))
            else:
                returned = jax.block_until_ready(run(*arguments))
        except Exception as error:
            raise ExecutionError(f"{self.program.launcher} failed: {error}") from error
        return collect(self.program, returned)

    def timer(self, inputs: Arrays, flush_bytes: int = 0, *, rolls: bool = False) -> Timer:
        """See Loaded.timer."""
        size = flush_bytes or (self.flush_bytes() if self.cache_bytes else FLUSH_BYTES)
        flush = 1 if self._arch.is_tpu else size // 4
        return _JaxTimer(self, inputs, flush, rolling(self.program) if rolls else ())


class _JaxTimer(Timer):
    """See Timer. JAX has no events: every time is the host's, dispatch included."""

    def __init__(
        self, loaded: OnDevice, inputs: Arrays, flush_words: int, rolls: tuple[str, ...]
    ) -> None:
        jax: Any = importlib.import_module("jax")
        self._loaded, self._given, self._rolls = loaded, dict(inputs), rolls
        self._shift = 0
        self._arguments, self._compiled = loaded.ready(inputs)
        self._touch = jax.jit(lambda a: a + 1)
        self._cache = jax.device_put(np.zeros(flush_words, np.int32))
        self._returned: Any = None

    def queued(self, shift: int = 0) -> float:
        """See Timer."""
        return self.bracketed(shift).host

    def bracketed(self, shift: int = 0) -> Bracket:
        """See Timer. Outputs are what the call returned; JAX gives no way to poison them."""
        jax: Any = importlib.import_module("jax")
        if shift != self._shift:
            moved = rolled(self._given, self._rolls, shift)
            self._arguments, self._shift = self._loaded.ready(moved)[0], shift
        self._cache = jax.block_until_ready(self._touch(self._cache))
        begin = time.perf_counter()
        returned = self._compiled(*self._arguments)
        submitted = time.perf_counter()
        jax.block_until_ready(returned)
        over = time.perf_counter()
        self._returned = jax.block_until_ready(jax.tree_util.tree_map(jax.numpy.copy, returned))
        return Bracket(over - begin, submitted - begin, time.perf_counter() - over)

    def outputs(self) -> dict[str, np.ndarray]:
        """See Timer."""
        return collect(self._loaded.program, self._returned)

    def close(self) -> None:
        """See Timer."""
        self._arguments, self._cache, self._returned = [], None, None

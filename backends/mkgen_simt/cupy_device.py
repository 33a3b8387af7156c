"""Launches cubins on an NVIDIA GPU with CuPy: the device of `cuda`, a proxy for `hip`."""

from __future__ import annotations

import functools
import importlib.util
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from mkgen.codegen.backend import Ability, Executor, Loaded, Role
from mkgen.errors import ExecutionError, MissingError
from mkgen.fence import FENCED
from mkgen.program import Artifact, Program, Simt
from mkgen.record import RanOn
from mkgen_simt import nvrtc
from mkgen_simt.device_run import GpuLoaded, GpuRuntime, probe_copies, refuse_steps
from mkgen_simt.nvidia import clock_command, reset_persisting_cache
from mkgen_simt.nvidia_fence import FencedMemory

#: Above this a kernel must opt in to dynamic shared memory (CUDA C++ Programming Guide, 7.0+).
_SHARED_WITHOUT_OPT_IN = 48 * 1024
_ARCH = re.compile(r"sm_(\d+)(\d)([af]?)")
CUPY_REMEDY = "pip install cupy-cuda13x"


def capability_refuses(arch: str, capability: tuple[int, int]) -> str | None:
    """Why a cubin for `arch` cannot run on a GPU of compute `capability`; None when it can.

    A cubin runs on its own major version and the same or a later minor one; `sm_90a` on 9.0 only
    (CUDA C++ Programming Guide, binary compatibility and architecture-specific features).
    """
    match = _ARCH.fullmatch(arch)
    here = "sm_{}{}".format(*capability)
    if match is None:
        return f"{arch} is no NVIDIA arch; targets that run here are for {here}"
    major, minor = int(match.group(1)), int(match.group(2))
    if match.group(3) == "a":
        runs = (major, minor) == capability
    else:
        runs = major == capability[0] and minor <= capability[1]
    if runs:
        return None
    return f"an artifact for {arch} cannot run on the {here} GPU here; ask for {here}"


def cupy_ability() -> Ability:
    """Whether a GPU and CuPy seem to be here; looks at files only, starts no driver."""
    tried = ("cupy", "/dev/nvidia0", "/dev/dxg", "/proc/driver/nvidia/version")
    if not any(Path(place).exists() for place in tried[1:]):
        return Ability(
            False,
            tried=tried,
            reason="no NVIDIA GPU or driver on this machine",
            remedy="run on a machine with an NVIDIA GPU and its driver",
        )
    if importlib.util.find_spec("cupy") is None:
        return Ability(False, tried=tried, reason="CuPy is missing", remedy=CUPY_REMEDY)
    return Ability(True, "CuPy with NVIDIA's driver", tried)


class CupyExecutor(Executor):
    """Runs artifacts of arch sm_*; subclasses say what that is evidence of."""

    role: ClassVar[Role] = "device"
    needs_artifact: ClassVar[bool] = True
    backend: ClassVar[str]
    schedules: ClassVar[tuple[str, ...]] = ("", FENCED)

    @property
    @abstractmethod
    def remedy(self) -> str:
        """How to get NVRTC."""

    @abstractmethod
    def exact_arch(self) -> bool:
        """Whether the GPU must be of the artifact's own arch, not merely able to run it."""

    def accepts(self, program: Program) -> str | None:
        """See Executor.accepts."""
        arch = program.target.arch
        if program.target.backend != self.backend or not _ARCH.fullmatch(arch):
            return (
                f"{program.target} is not for an NVIDIA GPU; targets here read {self.backend}:sm_*"
            )
        refused = refuse_steps(program)
        if refused is not None:
            return refused
        try:
            device = _device()
        except MissingError as error:
            return str(error)
        if refused := capability_refuses(arch, device.capability):
            return refused
        here = "sm_{}{}".format(*device.capability)
        if self.exact_arch() and arch.rstrip("af") != here:
            return f"{arch} runs on this {here} GPU, but is not its arch; ask for {here}"
        return None

    def ran_on(self) -> RanOn:
        """See Executor.ran_on."""
        device = _device()
        return RanOn(vendor="nvidia", arch="sm_{}{}".format(*device.capability), name=device.name)

    def compiler(self) -> tuple[str, str]:
        """See Executor.compiler."""
        return nvrtc.identity(self.remedy)

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """See Executor.load."""
        if artifact is None or artifact.format != "cubin":
            raise ExecutionError(f"{self.name} runs cubins; compile {program.target} first")
        entries = {launch.entry for launch in program.launches}
        return GpuLoaded(program, CupyRuntime(Path(artifact.path), sorted(entries)))

    def last_level_cache(self) -> int:
        """See Executor.last_level_cache."""
        return _device().last_level_cache

    def probe_copies(self, size: int, flush_bytes: int, repeats: int) -> list[float]:
        """See Executor.probe_copies."""
        _device()
        return probe_copies(CupyRuntime(), size, flush_bytes, repeats)

    def clock_command(self) -> tuple[str, ...]:
        """See Executor.clock_command."""
        return clock_command()


class _Device:
    """What the driver says of GPU 0."""

    def __init__(self, cupy: ModuleType) -> None:
        properties = cupy.cuda.runtime.getDeviceProperties(0)
        self.name: str = properties["name"].decode()
        self.capability: tuple[int, int] = (properties["major"], properties["minor"])
        self.last_level_cache: int = properties["l2CacheSize"]
        self.driver: int = cupy.cuda.runtime.driverGetVersion()


@functools.cache
def _device() -> _Device:
    """GPU 0; MissingError when CuPy, a driver or a GPU is missing."""
    try:
        import cupy  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise MissingError(f"CuPy cannot be imported ({error}); {CUPY_REMEDY}") from error
    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            raise MissingError("the NVIDIA driver sees no GPU; check CUDA_VISIBLE_DEVICES")
        return _Device(cupy)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise MissingError(
            f"no usable NVIDIA driver or GPU ({error}); run where nvidia-smi lists one"
        ) from error


@contextmanager
def _reported(doing: str) -> Iterator[None]:
    """Turns CuPy's errors into ExecutionError."""
    import cupy

    try:
        yield
    except (
        cupy.cuda.driver.CUDADriverError,
        cupy.cuda.runtime.CUDARuntimeError,
        cupy.cuda.memory.OutOfMemoryError,
    ) as error:
        raise ExecutionError(f"{doing}: {error}") from error


class CupyRuntime(GpuRuntime):
    """One cubin loaded on GPU 0, or none."""

    def __init__(self, cubin: Path | None = None, entries: Sequence[str] = ()) -> None:
        """Loads kernels `entries` of `cubin`; ExecutionError when the driver refuses it."""
        import cupy

        device = _device()
        self.last_level_cache = device.last_level_cache
        self._cupy = cupy
        self._runtime: Any = cupy.cuda.runtime
        # A blocking stream: copies run on the default stream and may return before they end.
        self._stream: Any = cupy.cuda.Stream()
        self._kernels: dict[str, Any] = {}
        if cubin is None:
            return
        driver = f"{device.driver // 1000}.{device.driver % 1000 // 10}"
        with _reported(
            f"{cubin.name} cannot be loaded by the driver for CUDA {driver}; an NVRTC of a newer "
            "major version is a cause: install one not newer than the driver"
        ):
            module = cupy.RawModule(path=str(cubin))
            # RawModule loads on first use; here the error still says what it is about.
            self._kernels = {e: module.get_function(e) for e in entries}

    def allocate(self, size: int) -> int:
        """See GpuRuntime."""
        with _reported(f"cannot allocate {size} bytes"):
            return int(self._runtime.malloc(size))

    def free(self, pointer: int) -> None:
        """See GpuRuntime."""
        with _reported("cannot free device memory"):
            self._runtime.free(pointer)

    def fenced(self, size: int, alignment: int) -> FencedMemory:
        """See GpuRuntime."""
        return FencedMemory(size, alignment)

    def upload(self, pointer: int, data: np.ndarray) -> None:
        """See GpuRuntime."""
        with _reported("cannot copy to the device"):
            host_to_device = self._runtime.memcpyHostToDevice
            self._runtime.memcpy(pointer, data.ctypes.data, data.nbytes, host_to_device)

    def download(self, pointer: int, data: np.ndarray) -> None:
        """See GpuRuntime."""
        with _reported("cannot copy from the device"):
            device_to_host = self._runtime.memcpyDeviceToHost
            self._runtime.memcpy(data.ctypes.data, pointer, data.nbytes, device_to_host)

    def fill(self, pointer: int, size: int, byte: int = 0) -> None:
        """See GpuRuntime."""
        with _reported("cannot fill device memory"):
            self._runtime.memsetAsync(pointer, byte, size, self._stream.ptr)

    def copy(self, pointer: int, source: int, size: int) -> None:
        """See GpuRuntime."""
        with _reported("cannot copy on the device"):
            kind = self._runtime.memcpyDeviceToDevice
            self._runtime.memcpyAsync(pointer, source, size, kind, self._stream.ptr)

    def launch(self, entry: str, configuration: Simt, pointers: list[int]) -> None:
        """See GpuRuntime."""
        shared = configuration.dynamic_shared
        with _reported(f"kernel {entry} with grid {configuration.grid}, block "
                       f"{configuration.block}, {shared} B of dynamic shared memory"):  # fmt: skip
            kernel = self._kernels[entry]
            if shared > max(_SHARED_WITHOUT_OPT_IN, kernel.max_dynamic_shared_size_bytes):
                kernel.max_dynamic_shared_size_bytes = shared
            arguments = tuple(np.uint64(pointer) for pointer in pointers)
            with self._stream:
                kernel(configuration.grid, configuration.block, arguments, shared_mem=shared)

    def synchronize(self) -> None:
        """See GpuRuntime."""
        with _reported("a kernel failed"):
            self._stream.synchronize()

    def wait_for_device(self) -> None:
        """See GpuRuntime."""
        with _reported("a kernel failed"):
            self._runtime.deviceSynchronize()

    def settle(self) -> None:
        """See GpuRuntime."""
        reset_persisting_cache()

    def timed(self, before: Callable[[], None], work: Callable[[], None]) -> float:
        """See GpuRuntime."""
        begin, end = self._cupy.cuda.Event(), self._cupy.cuda.Event()
        with _reported("a timed kernel failed"):
            before()
            begin.record(self._stream)
            work()
            end.record(self._stream)
            end.synchronize()
            return float(self._cupy.cuda.get_elapsed_time(begin, end)) / 1e3

    def close(self) -> None:
        """See GpuRuntime."""
        self._kernels.clear()

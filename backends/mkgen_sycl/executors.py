"""Executors over dpctl: the SPIR-V artifact on Intel's CPU device, or on an Intel GPU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from mkgen.codegen.backend import Executor, Loaded, Role
from mkgen.errors import ExecutionError, MissingError
from mkgen.program import Artifact, Launch, Program, Simt
from mkgen.record import EvidenceKind, RanOn
from mkgen_simt.stepwise import ALIGNMENT, Bytes, Device, StepRunner, probe_copies
from mkgen_sycl import toolchain

#: What the compiler behind SPIR-V is told; a division may otherwise be off by 2.5 ulp.
DRIVER_FLAGS = ("-cl-fp32-correctly-rounded-divide-sqrt",)

#: Words in the names that drivers give the devices of an arch.
DEVICE_NAMES = {
    "pvc": ("Data Center GPU Max", "Ponte Vecchio"),
    "acm-g10": ("Arc(TM) A770", "Arc(TM) A750", "Arc(TM) A580"),
    "bmg-g21": ("Arc(TM) B580", "Arc(TM) B570"),
}


def arch_of(device: Any) -> str | None:
    """The arch of a dpctl device; None for one that is no target of this backend."""
    if device.is_cpu:
        # Another OpenCL CPU driver (PoCL) may be installed beside Intel's.
        return "cpu" if "Intel" in device.sycl_platform.name else None
    for arch, words in DEVICE_NAMES.items():
        if any(word in device.name for word in words):
            return arch
    return None


def kernel_symbol(entry: str) -> str:
    """The name of a free-function kernel in SPIR-V."""
    return f"__sycl_kernel_{entry}"


class _UsmView:
    """Carries dpctl's description of USM memory; its block is kept alive elsewhere."""

    __sycl_usm_array_interface__: dict[str, Any]


class _Queue(Device):
    """USM memory and an in-order queue of dpctl."""

    def __init__(self, selected: Any, spirv: bytes = b"", entries: Iterable[str] = ()) -> None:
        import dpctl  # type: ignore[import-untyped]
        import dpctl.program  # type: ignore[import-untyped]

        self._queue = dpctl.SyclQueue(selected, property=["in_order", "enable_profiling"])
        self._flush: Any = None
        self._kernels: dict[str, Any] = {}
        if not spirv:
            return
        try:
            program = dpctl.program.create_program_from_spirv(
                self._queue, spirv, " ".join(DRIVER_FLAGS)
            )
            self._kernels = {e: program.get_sycl_kernel(kernel_symbol(e)) for e in entries}
        except Exception as error:  # dpctl's error types are private to its extension modules
            raise ExecutionError(f"{selected.name} refused the SPIR-V: {error}") from error

    def allocate(self, image: Bytes) -> Any:
        from dpctl.memory import MemoryUSMDevice  # type: ignore[import-untyped]

        block = MemoryUSMDevice(image.size, alignment=ALIGNMENT, queue=self._queue)
        block.copy_from_host(image)
        return block

    def read(self, block: Any) -> Bytes:
        data: Bytes = block.copy_to_host()
        return data

    def write(self, block: Any, image: Bytes) -> None:
        block.copy_from_host(image)

    def release(self, block: Any) -> None:
        # dpctl frees USM memory when its object dies; nothing else holds a reference by now.
        del block

    def launch(self, launch: Launch, args: list[tuple[Any, int]]) -> Any:
        simt = launch.configuration
        assert isinstance(simt, Simt)
        local = simt.block[::-1]
        # SYCL counts axes from the slowest one; Simt counts from x, the fastest.
        count = [g * b for g, b in zip(simt.grid[::-1], local, strict=True)]
        pointers = [self._at(block, offset) for block, offset in args]
        try:
            return self._queue.submit(self._kernels[launch.entry], pointers, count, list(local))
        except Exception as error:
            device = self._queue.sycl_device
            raise ExecutionError(
                f"{device.name} refused {launch.entry} with work-groups of {simt.block} and a grid "
                f"of {simt.grid}: {error} (at most {device.max_work_group_size} work-items and "
                f"{device.local_mem_size} bytes of local memory)"
            ) from error

    def _at(self, block: Any, offset: int) -> Any:
        """The memory of `block` from `offset` on: only such an object is passed as a pointer."""
        from dpctl.memory import MemoryUSMDevice

        view = _UsmView()
        view.__sycl_usm_array_interface__ = {
            "data": (block._pointer + offset, False),
            "shape": (block.nbytes - offset,),
            "strides": None,
            "typestr": "|u1",
            "version": 1,
            "offset": 0,
            "syclobj": self._queue,
        }
        return MemoryUSMDevice(view)

    def finish(self) -> None:
        try:
            self._queue.wait()
        except Exception as error:
            raise ExecutionError(f"the device failed while it ran: {error}") from error

    def cache_bytes(self) -> int:
        return int(self._queue.sycl_device.global_mem_cache_size)

    def flush_cache(self, size: int) -> None:
        from dpctl.memory import MemoryUSMDevice

        if self._flush is None:
            self._flush = MemoryUSMDevice(size, queue=self._queue)
        self._flush.memset(0)

    def copy(self, block: Any, source: Any) -> Any:
        return self._queue.memcpy_async(block, source, source.nbytes)

    def elapsed(self, first: Any, last: Any) -> float:
        first.wait()
        last.wait()
        return float(last.profiling_info_end - first.profiling_info_start) * 1e-9


class _Dpctl(Executor):
    """What the three executors share; they differ in the device and in what a run proves."""

    needs_artifact: ClassVar[bool] = True
    _packages: ClassVar[tuple[str, ...]] = toolchain.CPU_PACKAGES
    _latest: Any = None

    def _device(self, arch: str) -> Any:
        """The device that runs programs for `arch`; MissingError says why there is none."""
        reason = toolchain.missing(*self._packages)
        if reason:
            raise MissingError(reason)
        import dpctl

        devices = dpctl.get_devices()
        for device in devices:
            if arch_of(device) == arch:
                self._latest = device
                return device
        here = ", ".join(f"{d.name} ({arch_of(d) or 'no arch of this backend'})" for d in devices)
        raise MissingError(
            f"no SYCL device of arch {arch}; here: {here or 'none'}; run on a machine with one and "
            "its driver"
        )

    def accepts(self, program: Program) -> str | None:
        """Whether the device is here and has what the program's launches need."""
        try:
            device = self._device(program.target.arch)
        except MissingError as error:
            return str(error)
        for launch in program.launches:
            if not isinstance(launch.configuration, Simt):
                return f"{launch.entry} is not a launch of work-groups"
            lanes = launch.configuration.sub_group
            if lanes is not None and lanes not in device.sub_group_sizes:
                return f"{device.name} has sub-groups of {device.sub_group_sizes}, not {lanes}"
        dtypes = {buffer.dtype for buffer in program.buffers}
        if "float16" in dtypes and not device.has_aspect_fp16:
            return f"{device.name} has no float16"
        if "float64" in dtypes and not device.has_aspect_fp64:
            return f"{device.name} has no float64"
        return None

    def _shown_device(self) -> Any:
        """The device of the program that was asked about last, else the CPU."""
        return self._latest if self._latest is not None else self._device("cpu")

    def ran_on(self) -> RanOn:
        """The device, as its driver calls it."""
        device = self._shown_device()
        return RanOn(vendor=device.vendor, arch=arch_of(device) or "unknown", name=device.name)

    def compiler(self) -> tuple[str, str]:
        """The device compiler; the driver compiles on from its SPIR-V."""
        library = toolchain.jit_library()
        driver = self._shown_device().driver_version
        return f"{toolchain.compiler_name()}, driver {driver}", toolchain.file_sha(library)

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """Builds the artifact's SPIR-V for the device."""
        if artifact is None:
            raise ExecutionError(f"{self.name} runs the compiled SPIR-V; compile the program first")
        data = Path(artifact.path).read_bytes()
        entries = {launch.entry for launch in program.launches}
        device = self._device(program.target.arch)
        return StepRunner(program, _Queue(device, data, entries))

    def last_level_cache(self) -> int:
        """See Executor.last_level_cache."""
        return int(self._shown_device().global_mem_cache_size)

    def probe_copies(self, size: int, flush_bytes: int, repeats: int) -> list[float]:
        """See Executor.probe_copies."""
        return probe_copies(_Queue(self._shown_device()), size, flush_bytes, repeats)


class DpctlEmulator(_Dpctl):
    """The SPIR-V of any SYCL target on Intel's CPU device."""

    name: ClassVar[str] = "dpctl-cpu"
    kind: ClassVar[EvidenceKind] = EvidenceKind.EMULATED
    role: ClassVar[Role] = "emulate"
    cannot_see: ClassVar[tuple[str, ...]] = (
        "the target's code generation",
        "its sub-group widths",
        "races and memory ordering that the CPU device serialises",
        "full size",
        "speed",
    )

    def _device(self, arch: str) -> Any:
        return super()._device("cpu")


class DpctlCpu(_Dpctl):
    """The same CPU device, for programs whose target it is."""

    name: ClassVar[str] = "dpctl-cpu-device"
    kind: ClassVar[EvidenceKind] = EvidenceKind.DEVICE
    role: ClassVar[Role] = "device"
    cannot_see: ClassVar[tuple[str, ...]] = ("races that did not happen in these runs",)

    def accepts(self, program: Program) -> str | None:
        """Only programs for the arch `cpu`."""
        arch = program.target.arch
        return super().accepts(program) if arch == "cpu" else f"the CPU is not a {arch}"


class DpctlGpu(_Dpctl):
    """An Intel GPU of the program's arch, through Level Zero or OpenCL."""

    name: ClassVar[str] = "dpctl-gpu"
    kind: ClassVar[EvidenceKind] = EvidenceKind.DEVICE
    role: ClassVar[Role] = "device"
    cannot_see: ClassVar[tuple[str, ...]] = ("races that did not happen in these runs",)
    _packages: ClassVar[tuple[str, ...]] = ("dpctl",)

    def accepts(self, program: Program) -> str | None:
        """Only programs for a GPU."""
        arch = program.target.arch
        return super().accepts(program) if arch in DEVICE_NAMES else f"{arch} is not a GPU"

"""Executors over dpctl: the SPIR-V artifact on Intel's CPU device, or on an Intel GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from mkgen.codegen.backend import Executor, Loaded, Role
from mkgen.errors import ExecutionError, MissingError
from mkgen.program import Artifact, Launch, Program, Simt
from mkgen.record import EvidenceKind, RanOn
from mkgen_simt.stepwise import GUARD, Bytes, Device, StepRunner
from mkgen_sycl import toolchain

#: What the compiler behind SPIR-V is told; a division may otherwise be off by 2.5 ulp.
DRIVER_FLAGS = ("-cl-fp32-correctly-rounded-divide-sqrt",)
_FLUSH_BYTES = 256 << 20

#: Words in the names that drivers give the devices of an arch.
DEVICE_NAMES = {
    "pvc": ("Data Center GPU Max", "Ponte Vecchio"),
    "acm-g10": ("Arc(TM) A770", "Arc(TM) A750", "Arc(TM) A580"),
    "bmg-g21": ("Arc(TM) B580", "Arc(TM) B570"),
}


def kernel_symbol(entry: str) -> str:
    """The name of a free-function kernel in SPIR-V."""
    return f"__sycl_kernel_{entry}"


class _UsmView:
    """Carries dpctl's description of USM memory; the block it points into is kept alive elsewhere."""

    __sycl_usm_array_interface__: dict[str, Any]


class _Queue(Device):
    """USM memory and an in-order queue of dpctl."""

    def __init__(self, selected: Any, spirv: bytes, entries: set[str]) -> None:
        import dpctl
        import dpctl.program

        self._queue = dpctl.SyclQueue(selected, property=["in_order", "enable_profiling"])
        try:
            program = dpctl.program.create_program_from_spirv(self._queue, spirv, " ".join(DRIVER_FLAGS))
            self._kernels = {e: program.get_sycl_kernel(kernel_symbol(e)) for e in entries}
        except Exception as error:  # dpctl's error types are private to its extension modules
            raise ExecutionError(f"{selected.name} refused the SPIR-V: {error}") from error
        self._flush: Any = None

    def allocate(self, image: Bytes) -> Any:
        from dpctl.memory import MemoryUSMDevice

        block = MemoryUSMDevice(image.size, alignment=GUARD, queue=self._queue)
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
        """The memory of `block` from `offset` bytes on: only such an object is passed as a pointer."""
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

    def flush_cache(self) -> None:
        from dpctl.memory import MemoryUSMDevice

        if self._flush is None:
            self._flush = MemoryUSMDevice(_FLUSH_BYTES, queue=self._queue)
        self._flush.memset(0)

    def elapsed(self, first: Any, last: Any) -> float:
        first.wait()
        last.wait()
        return float(last.profiling_info_end - first.profiling_info_start) * 1e-9


class _Dpctl(Executor):
    """What the three executors share; they differ in the device and in what a run proves."""

    needs_artifact: ClassVar[bool] = True
    _filter: ClassVar[str]
    _packages: ClassVar[tuple[str, ...]] = toolchain.CPU_PACKAGES

    def _device(self) -> Any:
        """The device. MissingError says why there is none."""
        reason = toolchain.missing(*self._packages)
        if reason:
            raise MissingError(reason)
        import dpctl

        try:
            return dpctl.SyclDevice(self._filter)
        except Exception as error:  # dpctl's error types are private to its extension modules
            raise MissingError(f"dpctl sees no device {self._filter}: {error}") from error

    def accepts(self, program: Program) -> str | None:
        """Whether the device is here and has what the program's launches need."""
        try:
            device = self._device()
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

    def ran_on(self) -> RanOn:
        """The device, as its driver calls it."""
        device = self._device()
        return RanOn(vendor=device.vendor, arch=self._arch(device), name=device.name)

    def _arch(self, device: Any) -> str:
        return "cpu"

    def compiler(self) -> tuple[str, str]:
        """The device compiler; the driver compiles on from its SPIR-V."""
        library = toolchain.jit_library()
        driver = self._device().driver_version
        return f"{toolchain.compiler_name()}, driver {driver}", toolchain.file_sha(library)

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """Builds the artifact's SPIR-V for the device."""
        if artifact is None:
            raise ExecutionError(f"{self.name} runs the compiled SPIR-V; compile the program first")
        data = Path(artifact.path).read_bytes()
        entries = {launch.entry for launch in program.launches}
        return StepRunner(program, _Queue(self._device(), data, entries))


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
    _filter: ClassVar[str] = "opencl:cpu"


class DpctlCpu(_Dpctl):
    """The same CPU device, for programs whose target it is."""

    name: ClassVar[str] = "dpctl-cpu-device"
    kind: ClassVar[EvidenceKind] = EvidenceKind.DEVICE
    role: ClassVar[Role] = "device"
    cannot_see: ClassVar[tuple[str, ...]] = ("races and memory ordering that the device serialises",)
    _filter: ClassVar[str] = "opencl:cpu"

    def accepts(self, program: Program) -> str | None:
        """Only programs for the arch `cpu`."""
        arch = program.target.arch
        if arch != "cpu":
            return f"the CPU is not a {arch}"
        return super().accepts(program)


class DpctlDevice(_Dpctl):
    """An Intel GPU through Level Zero or OpenCL."""

    name: ClassVar[str] = "dpctl-gpu"
    kind: ClassVar[EvidenceKind] = EvidenceKind.DEVICE
    role: ClassVar[Role] = "device"
    cannot_see: ClassVar[tuple[str, ...]] = ("races that did not happen in these runs",)
    _filter: ClassVar[str] = "gpu"
    _packages: ClassVar[tuple[str, ...]] = ("dpctl",)

    def accepts(self, program: Program) -> str | None:
        """Only when the GPU here is of the program's arch."""
        arch = program.target.arch
        if arch not in DEVICE_NAMES:
            return f"{arch} is not a GPU"
        reason = super().accepts(program)
        if reason is None and self._arch(self._device()) != arch:
            return f"the GPU here is {self._device().name}, not a {arch}; run on one"
        return reason

    def _arch(self, device: Any) -> str:
        """The arch whose devices bear this name; the name itself for any other GPU."""
        for arch, words in DEVICE_NAMES.items():
            if any(word in device.name for word in words):
                return arch
        return str(device.name)

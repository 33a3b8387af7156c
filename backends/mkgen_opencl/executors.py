"""Executors over pyopencl: the text on a CPU device, the artifact on its own device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from mkgen.codegen.backend import Executor, Loaded, Role
from mkgen.errors import ExecutionError, MissingError
from mkgen.program import Artifact, Launch, Program, Simt
from mkgen.record import EvidenceKind, RanOn
from mkgen_opencl import devices, toolchain
from mkgen_simt.stepwise import GUARD, Bytes, Device, StepRunner, numpy_dtype, probe_copies

#: Never one that loosens arithmetic; without it a division may be off by 2.5 ulp.
BUILD_OPTIONS = ("-cl-std=CL1.2", "-cl-fp32-correctly-rounded-divide-sqrt")


class _Queue(Device):
    """Buffers and an in-order queue of one OpenCL device."""

    def __init__(
        self, device: Any, context: Any, kernels: Mapping[str, Any], sizes: Mapping[str, int]
    ) -> None:
        """`kernels` by entry; `sizes` are the bytes of an element of each buffer."""
        import pyopencl as cl

        self._device, self._context, self._kernels, self._sizes = device, context, kernels, sizes
        properties = cl.command_queue_properties.PROFILING_ENABLE
        self._queue = cl.CommandQueue(context, device, properties=properties)
        # A kernel does not keep its arguments alive; these must live until it has run.
        self._regions: list[Any] = []
        self._flush: Any = None

    def allocate(self, image: Bytes) -> Any:
        import pyopencl as cl

        try:
            block = cl.Buffer(self._context, cl.mem_flags.READ_WRITE, image.size)
            cl.enqueue_copy(self._queue, block, image)
        except cl.Error as error:
            raise ExecutionError(f"no buffer of {image.size} bytes: {error}") from error
        return block

    def read(self, block: Any) -> Bytes:
        import numpy as np
        import pyopencl as cl

        data = np.empty(block.size, dtype=np.uint8)
        cl.enqueue_copy(self._queue, data, block)
        return data

    def write(self, block: Any, image: Bytes) -> None:
        import pyopencl as cl

        cl.enqueue_copy(self._queue, block, image)

    def release(self, block: Any) -> None:
        block.release()

    def launch(self, launch: Launch, args: list[tuple[Any, int]]) -> Any:
        import pyopencl as cl

        simt = launch.configuration
        assert isinstance(simt, Simt)
        count = tuple(g * b for g, b in zip(simt.grid, simt.block, strict=True))
        kernel = self._kernels[launch.entry]
        try:
            for index, argument in enumerate(self._arguments(launch, args)):
                kernel.set_arg(index, argument)
            return cl.enqueue_nd_range_kernel(self._queue, kernel, count, simt.block)
        except cl.Error as error:
            device = self._device
            raise ExecutionError(
                f"{device.name.strip()} refused {launch.entry} with work-groups of {simt.block} "
                f"and a grid of {simt.grid}: {error} (at most {device.max_work_group_size} "
                f"work-items, {device.local_mem_size} bytes of local memory, and buffers that "
                f"begin on a multiple of {device.mem_base_addr_align // 8} bytes)"
            ) from error

    def _arguments(self, launch: Launch, args: list[tuple[Any, int]]) -> Iterator[Any]:
        """Memory objects; an offset is a number behind its own, in elements."""
        import numpy as np

        for name, (block, at) in zip(launch.args, args, strict=True):
            begin = GUARD if name in launch.offsets else at
            region = block.get_sub_region(begin, block.size - begin)
            self._regions.append(region)
            yield region
            if name in launch.offsets:
                yield np.int64((at - begin) // self._sizes[name])

    def finish(self) -> None:
        import pyopencl as cl

        try:
            self._queue.finish()
        except cl.Error as error:
            raise ExecutionError(f"the device failed while it ran: {error}") from error
        self._regions.clear()

    def cache_bytes(self) -> int:
        return int(self._device.global_mem_cache_size)

    def flush_cache(self, size: int) -> None:
        import numpy as np
        import pyopencl as cl

        if self._flush is None:
            self._flush = cl.Buffer(self._context, cl.mem_flags.READ_WRITE, size)
        cl.enqueue_fill_buffer(self._queue, self._flush, np.zeros(1, np.uint8), 0, size)
        self._queue.finish()

    def copy(self, block: Any, source: Any) -> Any:
        import pyopencl as cl

        return cl.enqueue_copy(self._queue, block, source)

    def elapsed(self, first: Any, last: Any) -> float:
        return float(last.profile.end - first.profile.start) * 1e-9


class _Opencl(Executor):
    """What the executors share; they differ in the device and in what a run proves."""

    _latest: Any = None

    def _device(self, arch: str) -> Any:
        """The device that runs programs for `arch`; MissingError says why there is none."""
        return devices.find_device(arch)

    def accepts(self, program: Program) -> str | None:
        """Whether the device is here and has what the program's launches need."""
        try:
            device = self._device(program.target.arch)
        except MissingError as error:
            return str(error)
        self._latest = device
        extensions = device.extensions.split()
        for launch in program.launches:
            configuration = launch.configuration
            if not isinstance(configuration, Simt):
                return f"{launch.entry} is not a launch of work-groups"
            if configuration.sub_group is not None and "cl_khr_subgroups" not in extensions:
                return f"{device.name.strip()} has no sub-groups"
        dtypes = {buffer.dtype for buffer in program.buffers}
        # float16 needs no extension: vload_half and vstore_half are OpenCL C's own
        if "float64" in dtypes and "cl_khr_fp64" not in extensions:
            return f"{device.name.strip()} has no float64 (cl_khr_fp64)"
        return None

    def _shown_device(self) -> Any:
        """The device of the program that was asked about last, else the CPU's."""
        return self._latest if self._latest is not None else self._device("cpu")

    def ran_on(self) -> RanOn:
        """The device, as its driver calls it."""
        device = self._shown_device()
        arch = devices.arch_of(device) or "unknown"
        return RanOn(vendor=device.vendor.strip(), arch=arch, name=device.name.strip())

    def compiler(self) -> tuple[str, str]:
        """The driver that builds the program."""
        return devices.describe(self._shown_device())

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """Builds the text, or loads the artifact where that is what runs."""
        device = self._latest = self._device(program.target.arch)
        if not self.needs_artifact:
            built = devices.build_text(device, program.sources[0].text, BUILD_OPTIONS)
        elif artifact is None:
            raise ExecutionError(f"{self.name} runs the compiled program; compile it first")
        else:
            built = devices.build_binary(device, Path(artifact.path).read_bytes())
        import pyopencl as cl

        entries = sorted({launch.entry for launch in program.launches})
        devices.resources(built, device, entries)
        sizes = {b.name: numpy_dtype(b.dtype).itemsize for b in program.buffers}
        kernels = {entry: cl.Kernel(built.program, entry) for entry in entries}
        context = built.program.get_info(cl.program_info.CONTEXT)
        return StepRunner(program, _Queue(device, context, kernels, sizes))

    def last_level_cache(self) -> int:
        """See Executor.last_level_cache."""
        return int(self._shown_device().global_mem_cache_size)

    def probe_copies(self, size: int, flush_bytes: int, repeats: int) -> list[float]:
        """See Executor.probe_copies."""
        import pyopencl as cl

        device = self._shown_device()
        return probe_copies(
            _Queue(device, cl.Context([device]), {}, {}), size, flush_bytes, repeats
        )


class OpenclEmulator(_Opencl):
    """The text of any OpenCL target on a CPU device."""

    name: ClassVar[str] = "opencl-cpu"
    kind: ClassVar[EvidenceKind] = EvidenceKind.EMULATED
    role: ClassVar[Role] = "emulate"
    needs_artifact: ClassVar[bool] = False
    cannot_see: ClassVar[tuple[str, ...]] = (
        "the target's code generation",
        "its sub-group widths",
        "races and memory ordering that the CPU device serialises",
        "full size",
        "speed",
    )

    def _device(self, arch: str) -> Any:
        return devices.find_device("cpu")


class OpenclDevice(_Opencl):
    """The artifact on a device of its arch."""

    name: ClassVar[str] = "opencl-device"
    kind: ClassVar[EvidenceKind] = EvidenceKind.DEVICE
    role: ClassVar[Role] = "device"
    needs_artifact: ClassVar[bool] = True
    cannot_see: ClassVar[tuple[str, ...]] = ("races that did not happen in these runs",)


class OpenclProxy(_Opencl):
    """The text of a GPU target on another vendor's GPU: NVIDIA's driver is an OpenCL device too."""

    name: ClassVar[str] = "opencl-nvidia"
    kind: ClassVar[EvidenceKind] = EvidenceKind.PROXY
    role: ClassVar[Role] = "device"
    needs_artifact: ClassVar[bool] = False
    cannot_see: ClassVar[tuple[str, ...]] = (
        "the target's code generation",
        "its sub-group widths",
        "races that did not happen in these runs",
        "the target's speed",
    )

    def accepts(self, program: Program) -> str | None:
        """Only programs for another vendor's GPU."""
        if program.target.arch not in devices.INTEL_NAMES:
            return f"{program.target.arch} needs no proxy"
        return super().accepts(program)

    def _device(self, arch: str) -> Any:
        for device in devices.all_devices():
            if (devices.arch_of(device) or "").startswith("sm_"):
                return device
        raise MissingError(f"no NVIDIA GPU to stand in for {arch}; {toolchain.REMEDY} on one")

"""Runs code objects on an AMD GPU through libamdhip64, by ctypes: nothing to build or install."""

from __future__ import annotations

import ctypes
import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mkgen.codegen.backend import Ability, Executor, Loaded, Role
from mkgen.errors import ExecutionError, MissingError
from mkgen.program import Artifact, Program, Simt
from mkgen.record import EvidenceKind, RanOn
from mkgen_hip.toolchain import file_sha, require_toolchain
from mkgen_simt.device_run import GpuLoaded, GpuRuntime, probe_copies, refuse_steps

_NAMES = ("libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so")
_KFD = Path("/dev/kfd")
_REMEDY = "run on a machine with an AMD GPU and ROCm's runtime, or set ROCM_PATH"
# The largest of any AMD GPU (MI300X, AMD Infinity Cache): HIP's device attributes tell the L2 only.
_LARGEST_CACHE = 256 << 20
# With it the runtime gives the GPU this arch's name, whatever it is (ROCR environment variables).
_PRETENDED = "HSA_OVERRIDE_GFX_VERSION"
_PROPERTIES_BYTES = 16384
_HOST_TO_DEVICE, _DEVICE_TO_HOST, _ON_DEVICE = 1, 2, 3


def rocm_ability() -> Ability:
    """Whether an AMD GPU and its runtime seem to be here; looks at files only."""
    tried = [str(_KFD)]
    if not _KFD.exists():
        reason = "no AMD GPU or its kernel driver on this machine"
        return Ability(False, tried=tuple(tried), reason=reason, remedy=_REMEDY)
    directories = (*_directories(), Path("/usr/lib/x86_64-linux-gnu"))
    places = [d / name for d in directories for name in _NAMES]
    tried += map(str, places)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        reason = "libamdhip64 is missing"
        return Ability(False, tried=tuple(tried), reason=reason, remedy=_REMEDY)
    return Ability(True, f"HIP runtime {found}", tuple(tried))


class HipDeviceExecutor(Executor):
    """This very code object on an AMD GPU of its arch."""

    name: ClassVar[str] = "hip-runtime"
    kind: ClassVar[EvidenceKind] = EvidenceKind.DEVICE
    role: ClassVar[Role] = "device"
    needs_artifact: ClassVar[bool] = True
    cannot_see: ClassVar[tuple[str, ...]] = (
        "races that did not happen in this run",
        "reads outside a buffer whose value changes nothing, writes more than 1 MiB outside it",
    )

    def accepts(self, program: Program) -> str | None:
        """See Executor.accepts."""
        arch = program.target.arch
        if program.target.backend != "hip" or not arch.startswith("gfx"):
            return f"{program.target} is not for an AMD GPU; targets here read hip:gfx*"
        refused = refuse_steps(program)
        if refused is not None:
            return refused
        try:
            here = _hip().arch
        except MissingError as error:
            return str(error)
        return (
            None if here == arch else f"the GPU here is a {here}, not a {arch}; ask for hip:{here}"
        )

    def ran_on(self) -> RanOn:
        """See Executor.ran_on."""
        hip = _hip()
        return RanOn(vendor="amd", arch=hip.arch, name=hip.name)

    def compiler(self) -> tuple[str, str]:
        """See Executor.compiler."""
        toolchain = require_toolchain()
        return toolchain.version, file_sha(toolchain.binary)

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """See Executor.load."""
        if artifact is None or artifact.format != "hsaco":
            raise ExecutionError(f"{self.name} runs code objects; compile {program.target} first")
        return GpuLoaded(program, HipRuntime(_hip(), Path(artifact.path)))

    def last_level_cache(self) -> int:
        """See Executor.last_level_cache."""
        return _LARGEST_CACHE

    def probe_copies(self, size: int, flush_bytes: int, repeats: int) -> list[float]:
        """See Executor.probe_copies."""
        runtime = HipRuntime(_hip())
        try:
            return probe_copies(runtime, size, flush_bytes, repeats)
        finally:
            runtime.close()


class _Hip:
    """libamdhip64 and device 0."""

    def __init__(self, library: Any) -> None:
        self._library = library
        library.hipGetErrorString.restype = ctypes.c_char_p
        count = ctypes.c_int()
        if library.hipGetDeviceCount(ctypes.byref(count)) != 0 or count.value == 0:
            raise MissingError(f"the HIP runtime sees no GPU; {_REMEDY}")
        # The struct grew over the years. Its first field is the name, and gcnArchName is the only
        # one that can hold gfx…, so neither needs the layout.
        data = ctypes.create_string_buffer(_PROPERTIES_BYTES)
        newer = hasattr(library, "hipGetDevicePropertiesR0600")
        getter = library.hipGetDevicePropertiesR0600 if newer else library.hipGetDeviceProperties
        self._check(getter(data, 0), "cannot read the properties of GPU 0")
        match = re.search(rb"gfx[0-9a-f]+", data.raw)
        if match is None:
            raise MissingError(f"the HIP runtime does not tell the arch of GPU 0; {_REMEDY}")
        self.arch = match.group().decode()
        self.name = data.raw.partition(b"\0")[0].decode(errors="replace") or self.arch

    def call(self, function: str, *args: Any, doing: str) -> None:
        """Calls `function`; ExecutionError says what failed while `doing`."""
        self._check(getattr(self._library, function)(*args), doing)

    def _check(self, code: int, doing: str) -> None:
        if code != 0:
            text = self._library.hipGetErrorString(code).decode(errors="replace")
            raise ExecutionError(f"{doing}: {text} (hipError {code})")


@functools.cache
def _hip() -> _Hip:
    """The runtime; MissingError when it or a GPU is missing."""
    if os.environ.get(_PRETENDED):
        raise MissingError(
            f"{_PRETENDED} is set: the runtime would call the GPU another arch than it is; unset it"
        )
    tried: list[str] = []
    for name in (*(str(d / n) for d in _directories() for n in _NAMES), *_NAMES):
        tried.append(name)
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        return _Hip(library)
    raise MissingError(f"libamdhip64 was not found; {_REMEDY}. Tried: {', '.join(tried)}")


def _directories() -> list[Path]:
    roots = [os.environ.get("ROCM_PATH", ""), os.environ.get("HIP_PATH", ""), "/opt/rocm"]
    return [Path(root) / "lib" for root in roots if root]


class HipRuntime(GpuRuntime):
    """One code object loaded on GPU 0, or none."""

    def __init__(self, hip: _Hip, path: Path | None = None) -> None:
        """Loads `path`; ExecutionError when the runtime refuses it."""
        self.last_level_cache = _LARGEST_CACHE
        self._hip = hip
        self._functions: dict[str, ctypes.c_void_p] = {}
        self._module = ctypes.c_void_p()
        self._stream = ctypes.c_void_p()
        out = ctypes.byref
        if path is not None:
            file = os.fsencode(path)
            hip.call("hipModuleLoad", out(self._module), file, doing=f"loading {path.name}")
        hip.call("hipStreamCreate", out(self._stream), doing="creating a stream")

    def allocate(self, size: int) -> int:
        """See GpuRuntime."""
        pointer = ctypes.c_void_p()
        doing = f"allocating {size} bytes"
        self._hip.call("hipMalloc", ctypes.byref(pointer), ctypes.c_size_t(size), doing=doing)
        return int(pointer.value or 0)

    def free(self, pointer: int) -> None:
        """See GpuRuntime."""
        self._hip.call("hipFree", ctypes.c_void_p(pointer), doing="freeing device memory")

    def upload(self, pointer: int, data: np.ndarray) -> None:
        """See GpuRuntime."""
        self._copy(pointer, data.ctypes.data, data.nbytes, _HOST_TO_DEVICE)

    def download(self, pointer: int, data: np.ndarray) -> None:
        """See GpuRuntime."""
        self._copy(data.ctypes.data, pointer, data.nbytes, _DEVICE_TO_HOST)

    def _copy(self, to: int, source: int, size: int, kind: int) -> None:
        pointers = ctypes.c_void_p(to), ctypes.c_void_p(source)
        count = ctypes.c_size_t(size)
        self._hip.call("hipMemcpy", *pointers, count, ctypes.c_int(kind), doing="copying")

    def fill(self, pointer: int, size: int, byte: int = 0) -> None:
        """See GpuRuntime."""
        args = ctypes.c_void_p(pointer), ctypes.c_int(byte), ctypes.c_size_t(size), self._stream
        self._hip.call("hipMemsetAsync", *args, doing="filling device memory")

    def copy(self, pointer: int, source: int, size: int) -> None:
        """See GpuRuntime."""
        pointers = ctypes.c_void_p(pointer), ctypes.c_void_p(source)
        args = *pointers, ctypes.c_size_t(size), ctypes.c_int(_ON_DEVICE), self._stream
        self._hip.call("hipMemcpyAsync", *args, doing="copying on the device")

    def launch(self, entry: str, configuration: Simt, pointers: list[int]) -> None:
        """See GpuRuntime."""
        values = [ctypes.c_void_p(pointer) for pointer in pointers]
        addresses = [ctypes.cast(ctypes.byref(value), ctypes.c_void_p) for value in values]
        parameters = (ctypes.c_void_p * len(values))(*addresses)
        sizes = (*configuration.grid, *configuration.block, configuration.dynamic_shared)
        self._hip.call(
            "hipModuleLaunchKernel",
            self._function(entry),
            *(ctypes.c_uint(size) for size in sizes),
            self._stream,
            parameters,
            None,
            doing=f"launching {entry} with grid {configuration.grid}, block {configuration.block}, "
            f"{configuration.dynamic_shared} B of dynamic shared memory",
        )

    def _function(self, entry: str) -> ctypes.c_void_p:
        if entry not in self._functions:
            function = ctypes.c_void_p()
            args = ctypes.byref(function), self._module, entry.encode()
            self._hip.call("hipModuleGetFunction", *args, doing=f"looking up kernel {entry}")
            self._functions[entry] = function
        return self._functions[entry]

    def synchronize(self) -> None:
        """See GpuRuntime."""
        self._hip.call("hipStreamSynchronize", self._stream, doing="a kernel failed")

    def wait_for_device(self) -> None:
        """See GpuRuntime."""
        self._hip.call("hipDeviceSynchronize", doing="a kernel failed")

    def timed(self, before: Callable[[], None], work: Callable[[], None]) -> float:
        """See GpuRuntime."""
        begin, end, taken = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_float()
        for event in (begin, end):
            self._hip.call("hipEventCreate", ctypes.byref(event), doing="creating an event")
        try:
            before()
            self._hip.call("hipEventRecord", begin, self._stream, doing="recording an event")
            work()
            self._hip.call("hipEventRecord", end, self._stream, doing="recording an event")
            self._hip.call("hipEventSynchronize", end, doing="a timed kernel failed")
            args = ctypes.byref(taken), begin, end
            self._hip.call("hipEventElapsedTime", *args, doing="reading events")
            return taken.value / 1e3
        finally:
            for event in (begin, end):
                self._hip.call("hipEventDestroy", event, doing="destroying an event")

    def close(self) -> None:
        """See GpuRuntime."""
        self._hip.call("hipStreamDestroy", self._stream, doing="destroying a stream")
        if self._module:
            self._hip.call("hipModuleUnload", self._module, doing="unloading a module")

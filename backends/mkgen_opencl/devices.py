"""OpenCL devices of this process: which arch each one is, and building programs for them."""

from __future__ import annotations

import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkgen.errors import CompileError, ExecutionError, MissingError, WrongArchError
from mkgen.program import Resources
from mkgen_opencl import toolchain

#: Words in the names that drivers give the devices of an arch.
INTEL_NAMES = {
    "pvc": ("Data Center GPU Max", "Ponte Vecchio"),
    "acm-g10": ("Arc(TM) A770", "Arc(TM) A750", "Arc(TM) A580"),
    "bmg-g21": ("Arc(TM) B580", "Arc(TM) B570"),
}
_EM_X86_64 = 62


@dataclass(frozen=True)
class Built:
    """A program that a driver has built."""

    program: Any
    binary: bytes
    log: str


def arch_of(device: Any) -> str | None:
    """The arch of `device`; None for one that is no target of this backend."""
    import pyopencl as cl

    if device.type & cl.device_type.CPU:
        return "cpu"
    if "cl_nv_device_attribute_query" in device.extensions.split():
        major = device.compute_capability_major_nv
        return f"sm_{major}{device.compute_capability_minor_nv}"
    for arch, words in INTEL_NAMES.items():
        if any(word in device.name for word in words):
            return arch
    return None


def find_device(arch: str) -> Any:
    """The first device here of `arch`. MissingError names what is here and the remedy."""
    seen = []
    for device in all_devices():
        found = arch_of(device)
        if found == arch:
            return device
        seen.append(f"{device.name.strip()} ({found or 'no arch of this backend'})")
    here = ", ".join(seen) or "none"
    remedy = toolchain.REMEDY if arch == "cpu" else f"run on a machine with a {arch} and its driver"
    raise MissingError(f"no OpenCL device of arch {arch}; here: {here}; {remedy}")


def all_devices() -> list[Any]:
    """Every OpenCL device, Intel's CPU device before PoCL's. MissingError without pyopencl."""
    try:
        import pyopencl as cl
    except ImportError as error:
        raise MissingError(f"pyopencl cannot be imported ({error}); {toolchain.REMEDY}") from error
    try:
        platforms = cl.get_platforms()
    except cl.LogicError:  # PLATFORM_NOT_FOUND_KHR is how a loader says that it has no driver
        return []
    platforms.sort(key=lambda p: "Portable" in p.name)
    return [device for platform in platforms for device in platform.get_devices()]


def describe(device: Any) -> tuple[str, str]:
    """Name with version of a device's driver, and the hash of its library."""
    platform = device.platform.name.strip()
    name = f"{platform} driver {device.driver_version.strip()}"
    return name, toolchain.file_sha(_driver_library(platform))


def _driver_library(platform: str) -> Path:
    """The file of the driver, as it is mapped into this process."""
    stem = next(
        (
            library
            for word, library in (
                ("NVIDIA", "libnvidia-opencl"),
                ("Graphics", "libigdrcl"),
                ("Intel", "libintelocl"),
                ("Portable", "libpocl"),
            )
            if word in platform
        ),
        "OpenCL",
    )
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.partition("/")[2]
        if stem in Path(path).name:
            return Path("/" + path)
    raise MissingError(f"the driver of {platform} is not among this process's libraries ({stem})")


def build_text(device: Any, text: str, options: tuple[str, ...]) -> Built:
    """Builds source text. CompileError carries the driver's log, with lines."""
    import pyopencl as cl

    program: Any = cl.Program(cl.Context([device]), text)
    try:
        _build(program, device, options)
    except cl.Error as error:
        # With pyopencl's cache on there is no program to ask; its own message holds the log then.
        log = _log(program, device) or str(error)
        lines = [line for line in log.splitlines() if "error:" in line.lower()]
        first = (lines or [str(error).splitlines()[0]])[0].strip()
        raise CompileError(f"{device.name.strip()} refused the program: {first}", log) from error
    return Built(program, program.get_info(cl.program_info.BINARIES)[0], _log(program, device))


def build_binary(device: Any, binary: bytes) -> Built:
    """Loads a program that a driver, or ocloc, has built for this device."""
    import pyopencl as cl

    try:
        program = cl.Program(cl.Context([device]), [device], [binary])
        _build(program, device, ())
    except cl.Error as error:
        raise ExecutionError(f"{device.name.strip()} refused the artifact: {error}") from error
    return Built(program, binary, _log(program, device))


def _build(program: Any, device: Any, options: tuple[str, ...]) -> None:
    with warnings.catch_warnings():
        # pyopencl warns of any build log, even one without a message; ours goes into the result.
        warnings.simplefilter("ignore")
        program.build(options=list(options), devices=[device])


def _log(program: Any, device: Any) -> str:
    import pyopencl as cl

    return str(program.get_build_info(device, cl.program_build_info.LOG)).strip("\0 \n")


def check_binary(binary: bytes, arch: str) -> str:
    """How `binary` was seen to hold code for `arch`. WrongArchError when it does not."""
    if arch == "cpu":
        if binary[:7] == b"poclbin":
            return "PoCL binary (magic poclbin) built on this CPU"
        if binary[:4] == b"\x7fELF" and struct.unpack_from("<H", binary, 18)[0] == _EM_X86_64:
            return f"ELF machine {_EM_X86_64} (x86-64)"
        raise WrongArchError("the driver's binary is neither an x86-64 ELF nor PoCL's")
    match = re.search(rb"^\.target\s+(sm_\d+)", binary, flags=re.MULTILINE)
    if match is not None:
        if match[1].decode() != arch:
            raise WrongArchError(f"the driver gave PTX for {match[1].decode()}, not {arch}")
        return f"PTX .target {arch}"
    if arch in INTEL_NAMES and binary[:4] == b"\x7fELF":
        return "ELF from the driver of that very device"
    raise WrongArchError(f"the driver's binary does not say that it is for {arch}")


def resources(built: Built, device: Any, entries: list[str]) -> dict[str, Resources]:
    """What the driver states of each kernel. CompileError when there is no such kernel."""
    import pyopencl as cl

    info = cl.kernel_work_group_info
    found: dict[str, Resources] = {}
    for entry in entries:
        try:
            kernel = cl.Kernel(built.program, entry)
        except cl.Error as error:
            raise CompileError(f"the program has no kernel {entry}: {error}", built.log) from error
        registers, spills = _ptxas(built.log, entry)
        found[entry] = Resources(
            registers=registers,
            spill_bytes=spills,
            stack_bytes=kernel.get_work_group_info(info.PRIVATE_MEM_SIZE, device),
            shared_bytes=kernel.get_work_group_info(info.LOCAL_MEM_SIZE, device),
        )
    return found


def _ptxas(log: str, entry: str) -> tuple[int | None, int | None]:
    """Registers and spill-store bytes from a log of -cl-nv-verbose; None where it says nothing."""
    after = log.partition(f"'{entry}'")[2]
    registers = re.search(r"Used (\d+) registers", after)
    spills = re.search(r"(\d+) bytes spill stores", after)
    return int(registers[1]) if registers else None, int(spills[1]) if spills else None

"""Where OpenCL drivers are, and how the loader is told of those that no .icd file names."""

from __future__ import annotations

import atexit
import hashlib
import importlib.metadata
import importlib.util
import platform
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

from mkgen.codegen.backend import Ability, Found, Probe, ability
from mkgen.codegen.external import chosen_compiler, external_ability
from mkgen.document import content_hash
from mkgen.errors import MissingError
from mkgen.evaluate.cache import default_cache_directory
from mkgen.files import atomic_write
from mkgen_simt import ocloc

REMEDY = "pip install 'mkgen[opencl]'"
_SYSTEM_VENDORS = Path("/etc/OpenCL/vendors")
_LIBRARY_DIRECTORIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")
#: The driver's own name: the dynamic linker finds it where a GPU container has no .icd for it.
_NVIDIA = "libnvidia-opencl.so.1"
_NVIDIA_VERSION = Path("/proc/driver/nvidia/version")


def package_version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def cpu_driver() -> Found:
    """The library of the CPU device: Intel's, else PoCL's (25 times slower, no float16).

    Wheels come first: a test must not depend on what else the machine has.
    """
    found = Found(None)
    for package, prefix, beside in (
        # intel-opencl-rt does not declare the package whose libraries it loads.
        ("intel-opencl-rt", "libintelocl.so", "intel-cmplr-lib-rt"),
        ("pocl-binary-distribution", "libpocl", None),
    ):
        found.tried.append(package if beside is None else f"{package} with {beside}")
        if package_version(package) is None or (beside and package_version(beside) is None):
            continue
        for file in importlib.metadata.files(package) or ():
            path = Path(str(file.locate()))
            if path.name.startswith(prefix) and ".so" in path.suffixes and path.exists():
                found.path = path.resolve()
                return found
    found.tried.append(str(_SYSTEM_VENDORS))
    for library in _system_drivers().values():
        name = Path(library).name
        if name.startswith(("libintelocl", "libpocl")):
            places = [Path(d) / library for d in ("", *_LIBRARY_DIRECTORIES)]
            found.path = next((p for p in places if p.is_absolute() and p.exists()), None)
    return found


def _system_drivers() -> dict[str, str]:
    """What each .icd file of the system names, by file name of the library."""
    named = (icd.read_text().strip() for icd in sorted(_SYSTEM_VENDORS.glob("*.icd")))
    return {Path(library).name: library for library in named}


@cache
def vendors_directory() -> Path:
    """A directory of .icd files: the system's, the CPU device's, and NVIDIA's driver by its name.

    It lies in the cache, named by its content: a temporary one would be left behind by every
    command that is killed.
    """
    drivers = _system_drivers()
    # A driver named twice would be two platforms with the same device.
    if not any(name.startswith("libnvidia-opencl") for name in drivers):
        drivers[_NVIDIA] = _NVIDIA
    cpu = cpu_driver().path
    if cpu is not None:
        drivers.setdefault(cpu.name, str(cpu))
    texts = [f"{library}\n" for library in drivers.values()]
    directory = default_cache_directory() / f"opencl-vendors-{content_hash(*texts)[:16]}"
    try:
        return _write_vendors(directory, texts)
    except OSError:  # a home that cannot be written; then a directory as short-lived as we are
        temporary = Path(tempfile.mkdtemp(prefix="mkgen-opencl-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        return _write_vendors(temporary, texts)


def _write_vendors(directory: Path, texts: list[str]) -> Path:
    for number, text in enumerate(texts):
        file = directory / f"{number}.icd"
        if not file.is_file() or file.read_text() != text:
            atomic_write(file, text)
    return directory


@cache
def file_sha(path: Path) -> str:
    """SHA-256 of a file, read once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compiler_identity() -> str:
    """The drivers and compilers here, by version and hash. MissingError when there is none."""
    chosen = chosen_compiler("opencl")
    if chosen is not None:
        return ocloc_identity(chosen)
    cpu, tool = cpu_driver(), ocloc.ocloc_path()
    parts = [f"{p.name} {file_sha(p)}" for p in (cpu.path, tool) if p is not None]
    if cpu.path is not None:
        # the driver compiles for the CPU that it finds: another one's program must not be taken
        parts.append(f"for {cpu_features()}")
    if _NVIDIA_VERSION.exists():
        parts.append(_NVIDIA_VERSION.read_text().splitlines()[0])
    if not parts:
        raise MissingError(
            f"no OpenCL compiler: neither {', '.join(cpu.tried)}, ocloc nor an NVIDIA driver; "
            f"{REMEDY}"
        )
    return "; ".join(parts)


def cpu_features() -> str:
    """A hash of what the system says this CPU can do."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = f"flags: {platform.processor()}"
    lines = {line for line in text.splitlines() if re.match(r"(flags|Features|model name)\b", line)}
    return content_hash(platform.machine(), *sorted(lines))[:16]


def ocloc_identity(path: Path) -> str:
    """Version and hash of the ocloc at `path`. MissingError when it is none."""
    with tempfile.TemporaryDirectory(prefix="mkgen-ocloc-") as scratch:
        tool = ocloc.find_ocloc(Path(scratch))
    if tool is None:
        raise MissingError(f"{path} does not answer; {ocloc.REMEDY}")
    return f"{tool} {tool.sha}"


def probe() -> Probe:
    """What works here, from package metadata, PATH and device nodes alone."""
    return Probe(
        generate=Ability(True, found="templates only; nothing to install"),
        compile=ability(_probe_compile, REMEDY),
        execute=ability(_probe_execute, REMEDY),
        measure=ability(_probe_measure, REMEDY),
    )


def _probe_compile() -> Ability:
    chosen = external_ability("opencl", ocloc_identity)
    if chosen is not None:
        return chosen
    cpu, tool = cpu_driver(), ocloc.ocloc_path()
    tried = (*cpu.tried, "ocloc on PATH", str(_NVIDIA_VERSION))
    found = []
    if _has_pyopencl() and cpu.path is not None:
        found.append(f"cpu by {cpu.path.name}")
    if _has_pyopencl() and _NVIDIA_VERSION.exists():
        found.append("the GPU here by NVIDIA's driver")
    if tool is not None:
        found.append("Intel GPUs by ocloc")
    if not found:
        reason = "no driver, no ocloc" if _has_pyopencl() else "pyopencl is not installed, no ocloc"
        return Ability(False, tried=tried, reason=reason, remedy=REMEDY)
    return Ability(True, found="; ".join(found), tried=tried)


def _probe_execute() -> Ability:
    cpu = cpu_driver()
    if cpu.path is None or not _has_pyopencl():
        reason = "no OpenCL CPU device" if _has_pyopencl() else "pyopencl is not installed"
        return Ability(False, tried=tuple(cpu.tried), reason=reason, remedy=REMEDY)
    version = package_version("pyopencl")
    return Ability(True, found=f"{cpu.path.name} through pyopencl {version}")


def _probe_measure() -> Ability:
    tried = (str(_NVIDIA_VERSION), "/dev/dri/renderD*", *cpu_driver().tried)
    if not _has_pyopencl():
        return Ability(False, tried=tried, reason="pyopencl is not installed", remedy=REMEDY)
    found = []
    if _NVIDIA_VERSION.exists():
        found.append("an NVIDIA GPU")
    if any(Path("/dev/dri").glob("renderD*")):
        found.append("a GPU device node (its driver is asked when it runs)")
    if cpu_driver().path is not None:
        found.append("the CPU, for opencl:cpu")
    if not found:
        return Ability(False, tried=tried, reason="no OpenCL device", remedy=REMEDY)
    return Ability(True, found=", ".join(found), tried=tried)


def _has_pyopencl() -> bool:
    return importlib.util.find_spec("pyopencl") is not None

"""Where the SYCL toolchain is: the compiler library, its headers and the runtimes, all wheels."""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
from functools import cache
from pathlib import Path

from mkgen.codegen.backend import Ability, Found, Probe, ability
from mkgen.codegen.external import external_ability
from mkgen.errors import MissingError
from mkgen_simt import ocloc
from mkgen_sycl import jit, rtc
from mkgen_sycl.icpx import find_icpx

REMEDY = "pip install 'mkgen[sycl]'"
COMPILER_PACKAGE = "intel-sycl-rt"
#: The releases whose compileSYCL was seen to have the binary interface that jit.py speaks.
KNOWN_RELEASES = ((2026, 0), (2027, 0))
#: What running on the CPU device takes; intel-opencl-rt does not declare the last one.
CPU_PACKAGES = ("dpctl", "intel-opencl-rt", "intel-cmplr-lib-rt")


def package_version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def find_library(package: str, name: str) -> Found:
    """The shared library `name` that the wheel `package` installed."""
    found = Found(None, [f"the package {package}"])
    if package_version(package) is not None:
        for file in importlib.metadata.files(package) or ():
            path = Path(str(file.locate()))
            if path.name == name and path.exists():
                found.path = path.resolve()
                return found
    fallback = Path(sys.prefix) / "lib" / name
    found.tried.append(str(Path("<prefix>") / "lib" / name))
    if fallback.exists():
        found.path = fallback.resolve()
    return found


def jit_library() -> Path:
    """libsycl-jit, the device compiler. MissingError when it is not here or cannot be called."""
    found = find_library(COMPILER_PACKAGE, "libsycl-jit.so")
    if found.path is None:
        raise MissingError(
            f"no SYCL compiler: libsycl-jit.so is not in {' nor in '.join(found.tried)}; {REMEDY}"
        )
    reason = unknown_release(package_version(COMPILER_PACKAGE))
    if reason and rtc.host_compiler() is None:
        raise MissingError(f"{reason}, or apt install g++ to use its public interface")
    return found.path


def compile_sycl(
    name: str, text: str, options: tuple[str, ...], directory: Path
) -> tuple[bytes, str]:
    """SPIR-V of `text` and the compiler's log: by ctypes (jit.py), else by g++ (rtc.py)."""
    library = jit_library()
    if unknown_release(package_version(COMPILER_PACKAGE)):
        return rtc.compile_sycl(library, name, text, options, directory)
    return jit.compile_sycl(library, name, text, options)


def unknown_release(version: str | None) -> str | None:
    """Why compileSYCL of this release must not be called directly; None when it may be."""
    low, high = KNOWN_RELEASES
    shown = f">={low[0]}.{low[1]},<{high[0]}.{high[1]}"
    if version is None:
        return f"libsycl-jit.so belongs to no {COMPILER_PACKAGE} wheel; {REMEDY}"
    release = tuple(int(part) for part in version.split(".")[:2])
    if low <= release < high:
        return None
    return (
        f"{COMPILER_PACKAGE} {version} may have another binary interface than the one known "
        f"({shown}); pip install '{COMPILER_PACKAGE}{shown}'"
    )


@cache
def file_sha(path: Path) -> str:
    """SHA-256 of a file, read once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compiler_name() -> str:
    """Name and version of the device compiler."""
    return f"libsycl-jit of {COMPILER_PACKAGE} {package_version(COMPILER_PACKAGE)} (DPC++)"


def cpu_environment() -> dict[str, str]:
    """Variables by which the SYCL runtime finds the Intel CPU device of the wheels."""
    library = find_library("intel-opencl-rt", "libintelocl.so").path
    # The wheel's own .icd names a place that does not exist.
    return {} if library is None else {"OCL_ICD_FILENAMES": str(library)}


def missing(*packages: str) -> str | None:
    """Which of `packages` are not installed, with the remedy; None when all are."""
    absent = [p for p in packages if package_version(p) is None]
    return f"not installed: {', '.join(absent)}; {REMEDY}" if absent else None


def probe() -> Probe:
    """What works here, from package metadata and PATH alone."""
    return Probe(
        generate=Ability(True, found="templates only; nothing to install"),
        compile=ability(_probe_compile, REMEDY),
        execute=ability(_probe_execute, REMEDY),
        measure=ability(_probe_measure, REMEDY),
    )


def _probe_compile() -> Ability:
    chosen = external_ability("sycl", lambda path: str(find_icpx(path)))
    if chosen is not None:
        return chosen
    try:
        jit_library()
    except MissingError as error:
        return Ability(
            False, tried=(COMPILER_PACKAGE, "<prefix>/lib"), reason=str(error), remedy=REMEDY
        )
    path = ocloc.ocloc_path()
    isa = "with ocloc to Intel machine code" if path else f"to SPIR-V; for more, {ocloc.REMEDY}"
    return Ability(True, found=f"{compiler_name()}, {isa}")


def _probe_execute() -> Ability:
    reason = missing(*CPU_PACKAGES)
    if reason:
        return Ability(False, tried=CPU_PACKAGES, reason=reason, remedy=REMEDY)
    version = package_version("intel-opencl-rt")
    return Ability(True, found=f"Intel CPU device of intel-opencl-rt {version} through dpctl")


def _probe_measure() -> Ability:
    tried = ("/dev/dri/renderD*",)
    if not any(Path("/dev/dri").glob("renderD*")):
        return Ability(
            False,
            tried=tried,
            reason="no GPU device node",
            remedy="run on a machine with an Intel GPU and its Level Zero driver",
        )
    if package_version("dpctl") is None:
        return Ability(False, tried=tried, reason="dpctl is not installed", remedy=REMEDY)
    return Ability(True, found="a GPU device node and dpctl (the driver is asked when it runs)")

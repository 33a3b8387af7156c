"""NVRTC, NVIDIA's compiler as a library: C++ text to a checked cubin, with no driver and no GPU."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from mkgen.codegen.backend import Ability, Found
from mkgen.errors import CompileError, MissingError
from mkgen.program import Artifact, Program
from mkgen_simt.cubin import check_cubin, ptxas_resources, with_launches
from mkgen_simt.cuda_headers import cuda_include, site_roots, toolkit_roots
from mkgen_simt.elf import read_elf

#: Never --use_fast_math. Contraction to fma is nvcc's default and rounds once instead of twice.
OPTIONS = (
    "--std=c++17",
    "--ptxas-options=-v",
    "--prec-div=true",
    "--prec-sqrt=true",
    "--ftz=false",
)
#: Since then NVRTC asks the driver's cache first, where there is a driver. What it finds there has
#: no log of ptxas, and that is where kernels and their registers are read from.
_CACHING_SINCE = (12, 9)
_WITHOUT_CACHE = "--no-cache"

_PACKAGES = ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu13", "nvidia-cuda-nvrtc-cu12")
_OWN_HEADERS = re.compile(r'could not open source file "(cuda_fp16|cuda_bf16|[\w/]+)\.h"')


def compile_cubin(
    program: Program,
    directory: Path,
    headers: Mapping[str, str],
    remedy: str,
    options: Sequence[str] = (),
) -> Artifact:
    """Compiles the first source of `program` for its arch: .cubin, .ptx and, if it can, .sass.

    MissingError without NVRTC, CompileError with its log, WrongArchError when the cubin is not for
    the arch.
    """
    start = time.perf_counter()
    nvrtc = _nvrtc(remedy)
    source, arch = program.sources[0], program.target.arch
    include = cuda_include()
    flags = [f"--gpu-architecture={arch}", *OPTIONS, *options]
    if _version_of(nvrtc) >= _CACHING_SINCE:
        flags.append(_WITHOUT_CACHE)
    paths = [f"--include-path={include.path}"] if include.path else []
    log, cubin, ptx = _build(nvrtc, source.name, source.text, headers, [*flags, *paths], include)
    checked = check_cubin(cubin, arch)
    elf = read_elf(cubin)
    resources = with_launches(program, ptxas_resources(log), elf.functions)
    for launch in program.launches:
        if launch.entry not in resources:
            raise CompileError(
                f"{source.name} has no kernel {launch.entry!r} for {arch}; it has "
                f'{", ".join(sorted(resources)) or "none"}. Declare it extern "C" __global__',
                log,
            )
    directory.mkdir(parents=True, exist_ok=True)
    stem = Path(source.name).stem
    path = directory / f"{stem}.{arch}.cubin"
    path.write_bytes(cubin)
    readable = directory / f"{stem}.{arch}.ptx"
    readable.write_bytes(ptx)
    name, digest = identity(remedy)
    return Artifact(
        arch=arch,
        format="cubin",
        path=str(path),
        sha=hashlib.sha256(cubin).hexdigest(),
        resources=resources,
        compiler=name,
        compiler_sha=digest,
        command=f"nvrtc {' '.join(flags)} {source.name}",
        isa_path=str(_disassemble(path) or readable),
        checked=checked,
        seconds=time.perf_counter() - start,
    )


def _nvrtc(remedy: str) -> ModuleType:
    try:
        from cuda.bindings import nvrtc  # type: ignore[import-untyped]

        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError, OSError) as error:
        raise MissingError(f"NVRTC cannot be used ({error}); {remedy}") from error
    return nvrtc  # type: ignore[no-any-return]


def _build(
    nvrtc: Any,
    name: str,
    text: str,
    headers: Mapping[str, str],
    options: Sequence[str],
    include: Found,
) -> tuple[str, bytes, bytes]:
    """Log, cubin and PTX of `text`."""
    bodies = [body.encode() for body in headers.values()]
    names = [header.encode() for header in headers]
    program = _call(
        nvrtc.nvrtcCreateProgram(text.encode(), name.encode(), len(names), bodies, names)
    )
    try:
        result, *_ = nvrtc.nvrtcCompileProgram(
            program, len(options), [option.encode() for option in options]
        )
        log = _bytes(nvrtc, "ProgramLog", program).rstrip(b"\0").decode(errors="replace").strip()
        if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CompileError(_refusal(name, options[0], result.name, log, include), log)
        # PTX comes with the NUL of a C string; ptxas and readers refuse it.
        ptx = _bytes(nvrtc, "PTX", program).rstrip(b"\0")
        return log, _bytes(nvrtc, "CUBIN", program), ptx
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _version_of(nvrtc: Any) -> tuple[int, int]:
    result, major, minor = nvrtc.nvrtcVersion()
    _call((result,))
    return major, minor


def _bytes(nvrtc: Any, what: str, program: Any) -> bytes:
    size: int = _call(getattr(nvrtc, f"nvrtcGet{what}Size")(program))
    # one more: Python has one object for all bytes of length 1, and NVRTC writes into this one
    buffer = bytes(size + 1)
    _call(getattr(nvrtc, f"nvrtcGet{what}")(program, buffer))
    return buffer[:size]


def _call(result: Sequence[Any]) -> Any:
    if result[0].value != 0:
        raise CompileError(f"NVRTC failed with {result[0].name}")
    return result[1] if len(result) > 1 else None


def _refusal(name: str, arch: str, result: str, log: str, include: Found) -> str:
    first = next((line for line in log.splitlines() if "error" in line), result)
    message = f"NVRTC refused {name} ({arch}): {first}"
    if "invalid value for --gpu-architecture" in log:
        message += ". This NVRTC does not know the arch; install one that does"
    elif include.path is None and _OWN_HEADERS.search(log):
        message += (
            ". CUDA's own headers were not found; pip install nvidia-cuda-runtime, or set "
            f"CUDA_PATH to a toolkit. Tried: {', '.join(include.tried)}"
        )
    return message


@functools.cache
def _identity() -> tuple[str, str]:
    from cuda.bindings import nvrtc

    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingError(
            f"{error}; pip install --upgrade cuda-bindings cuda-pathfinder"
        ) from error

    major, minor = _version_of(nvrtc)
    # The loader may have found a toolkit's own library, not the wheel's.
    path = load_nvidia_dynamic_lib("nvrtc").abs_path
    if path is None:
        raise MissingError("libnvrtc is loaded, but its file is unknown; reinstall cuda-bindings")
    data = Path(path).read_bytes()
    return f"NVRTC {major}.{minor}", hashlib.sha256(data).hexdigest()


def identity(remedy: str) -> tuple[str, str]:
    """`NVRTC 13.5` and the SHA-256 of libnvrtc; MissingError with `remedy` when it is not here."""
    _nvrtc(remedy)
    return _identity()


def nvrtc_ability(remedy: str) -> Ability:
    """Whether NVRTC is installed; looks at files and metadata only."""
    tried: list[str] = []
    libraries = [
        path
        for root in [*site_roots(), *toolkit_roots()]
        for pattern in ("nvidia/cu*/lib/libnvrtc.so*", "nvidia/cuda_nvrtc/lib/libnvrtc.so*",
                        "lib64/libnvrtc.so*")
        for path in sorted(root.glob(pattern))
    ]  # fmt: skip
    tried.append("cuda-bindings")
    bindings = _version("cuda-bindings")
    if bindings is None:
        return Ability(False, tried=tuple(tried), reason="cuda-bindings is missing", remedy=remedy)
    tried += [*_PACKAGES, *(str(root / "lib64") for root in toolkit_roots())]
    if not libraries:
        return Ability(False, tried=tuple(tried), reason="libnvrtc is missing", remedy=remedy)
    version = next((v for v in map(_version, _PACKAGES) if v), libraries[0].name)
    return Ability(True, f"NVRTC {version} through cuda-bindings {bindings}", tuple(tried))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _disassemble(cubin: Path) -> Path | None:
    """The SASS of `cubin` beside it, where some nvdisasm reads it; None where none does."""
    for tool in _disassemblers():
        done = subprocess.run([tool, "-c", cubin], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            path = cubin.with_suffix(".sass")
            path.write_text(done.stdout)
            return path
    return None


def _disassemblers() -> list[Path]:
    places = ["nvidia/cu*/bin/nvdisasm", "nvidia/cuda_nvdisasm/bin/nvdisasm",
              "triton/backends/nvidia/bin/nvdisasm"]  # fmt: skip
    wheels = [path for root in site_roots() for place in places for path in root.glob(place)]
    toolkits = [root / "bin/nvdisasm" for root in toolkit_roots()]
    return wheels + [tool for tool in toolkits if tool.is_file()]

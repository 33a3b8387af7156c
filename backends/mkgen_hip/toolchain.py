"""Finds a clang for AMD GPUs and the device math library, in the order that is nearest to ROCm."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mkgen.codegen.backend import Ability, Found
from mkgen.errors import MissingError
from mkgen_simt.cuda_headers import site_roots
from mkgen_simt.host_probe import zig_binary

REMEDY = "pip install mkgen[hip]"
OCML_REMEDY = (
    "install ROCm, or `apt install rocm-device-libs`, or `pip install triton` for its ocml.bc"
)
_DEBIAN_CLANGS = range(24, 18, -1)


@dataclass(frozen=True)
class Toolchain:
    """One clang with its linker."""

    clang: tuple[str, ...]
    lld: tuple[str, ...]
    binary: Path
    """The file that identifies the compiler."""
    rocm: Path | None
    """ROCm's root when its own headers and device library are used; else ours."""

    @functools.cached_property
    def version(self) -> str:
        """`clang 22.1.8 (LLVM's AMDGPU backend, not ROCm)`."""
        done = subprocess.run(
            [*self.clang, "--version"], capture_output=True, text=True, check=False
        )
        match = re.search(r"clang version (\S+)", done.stdout)
        if done.returncode != 0 or match is None:
            raise MissingError(
                f"{self.binary} does not run ({(done.stderr or done.stdout).strip()}); {REMEDY}"
            )
        if self.rocm is None:
            return f"clang {match.group(1)} (LLVM's AMDGPU backend, not ROCm)"
        return f"AMD clang {match.group(1)} (ROCm {_rocm_version(self.rocm)})"


def find_toolchain() -> tuple[Toolchain | None, list[str]]:
    """The first toolchain that is here, and every place looked at up to it."""
    tried: list[str] = []
    for root in _rocm_roots():
        for place in ("llvm/bin", "lib/llvm/bin"):
            tried.append(str(root / place / "clang++"))
            bin_ = root / place
            if (bin_ / "clang++").is_file() and (bin_ / "ld.lld").is_file():
                headers = (root / "include/hip/hip_runtime.h").is_file()
                return Toolchain(
                    (str(bin_ / "clang++"),),
                    (str(bin_ / "ld.lld"),),
                    (bin_ / "clang++").resolve(),
                    root if headers else None,
                ), tried
    tried.append("ziglang")
    zig = zig_binary()
    if zig is not None:
        return Toolchain((str(zig), "clang"), (str(zig), "ld.lld"), zig, None), tried
    for number in _DEBIAN_CLANGS:
        tried.append(f"clang-{number}")
        clang, lld = shutil.which(f"clang-{number}"), shutil.which(f"ld.lld-{number}")
        if clang and lld:
            return Toolchain((clang,), (lld,), Path(clang).resolve(), None), tried
    return None, tried


def require_toolchain() -> Toolchain:
    """The toolchain; MissingError with every place tried and the remedy."""
    toolchain, tried = find_toolchain()
    if toolchain is None:
        raise MissingError(
            f"no clang for AMD GPUs was found; {REMEDY}, or set ROCM_PATH. "
            f"Tried: {', '.join(tried)}"
        )
    return toolchain


def device_library() -> Found:
    """The directory that holds ocml.bc and ockl.bc; every place looked at."""
    found = Found(None)
    for place in _library_places():
        found.tried.append(str(place))
        if (place / "ocml.bc").is_file() and (place / "ockl.bc").is_file():
            found.path = place
            return found
    return found


@functools.cache
def file_sha(path: Path) -> str:
    """SHA-256 of a file that does not change while this process lives."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clang_ability() -> Ability:
    """Whether HIP text compiles for AMD GPUs here, and with which math; looks at files only."""
    toolchain, tried = find_toolchain()
    if toolchain is None:
        reason = "no clang for AMD GPUs was found"
        return Ability(False, tried=tuple(tried), reason=reason, remedy=REMEDY)
    name = "ROCm's clang" if toolchain.rocm else "clang (LLVM's AMDGPU backend, not ROCm)"
    found = f"{name} at {toolchain.binary}"
    if toolchain.rocm is not None:
        return Ability(True, found, tuple(tried))
    library = device_library()
    tried += library.tried
    if library.path is not None:
        return Ability(True, f"{found}; ocml in {library.path}", tuple(tried))
    return Ability(
        True,
        f"{found}; no ocml",
        tuple(tried),
        reason="without ocml, tanh, erf and their kin do not compile",
        remedy=OCML_REMEDY,
    )


def _rocm_roots() -> Iterator[Path]:
    for variable in ("ROCM_PATH", "HIP_PATH"):
        if os.environ.get(variable):
            yield Path(os.environ[variable])
    hipcc = shutil.which("hipcc")
    if hipcc is not None:
        yield Path(hipcc).resolve().parent.parent
    yield Path("/opt/rocm")
    if Path("/opt").is_dir():
        yield from sorted(Path("/opt").glob("rocm-*"), reverse=True)


def _library_places() -> Iterator[Path]:
    for root in _rocm_roots():
        yield root / "amdgcn/bitcode"
        yield from sorted(root.glob("lib/llvm/lib/clang/*/lib/amdgcn/bitcode"), reverse=True)
    for root in (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib"), Path("/usr")):
        yield root / "amdgcn/bitcode"
    for root in (Path("/usr/lib/clang"), *sorted(Path("/usr/lib").glob("llvm-*/lib/clang"))):
        yield from sorted(root.glob("*/lib/amdgcn/bitcode")) + sorted(root.glob("*/amdgcn/bitcode"))
    for root in site_roots():
        yield root / "triton/backends/amd/lib"


def _rocm_version(root: Path) -> str:
    file = root / ".info/version"
    return file.read_text().strip() if file.is_file() else "of unknown version"

"""hipcc or a clang that the user names by --toolchain."""

from __future__ import annotations

import functools
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mkgen.codegen.external import ask, digest, parts_of, run_tool
from mkgen.errors import MissingError
from mkgen_hip.toolchain import Toolchain

_PROBE_ARCH = "gfx906"
_PROBE_SECONDS = 60.0


@dataclass(frozen=True)
class HipCompiler:
    """A compiler for HIP that answers."""

    path: Path
    version: str
    """`hipcc 5.2.21153-0 with clang 15.0.6`, `clang 19.1.7`."""
    parts: tuple[Path, ...]
    """Every file that takes part: a wrapper, the clang it runs, its linker and libraries."""
    toolchain: Toolchain | None
    """How our own steps call it; None where it has HIP's headers and device library itself."""

    @property
    def sha(self) -> str:
        """Hash of all parts, read again when one was replaced."""
        return digest(self.parts)

    def __str__(self) -> str:
        return f"{self.version} {self.sha}"


@functools.cache
def find_compiler(path: Path) -> HipCompiler:
    """The compiler at `path`. MissingError when it does not run, or is another kind of program."""
    with tempfile.TemporaryDirectory(prefix="mkgen-hip-") as scratch:
        directory = Path(scratch)
        told = ask(path, directory, "--version")
        clang = re.search(r"clang version (\S+)", told)
        if clang is None:
            first = (told.strip().splitlines() or ["nothing"])[0]
            raise MissingError(
                f"{path} is neither hipcc nor clang (--version says {first!r}); give --toolchain "
                "hip=/opt/rocm/bin/hipcc, or a clang++ with the amdgcn target"
            )
        release = re.search(r"HIP version: (\S+)", told)
        version = f"clang {clang[1]}"
        complete = _has_headers(path, directory)
        if complete:
            version = f"hipcc {release[1]} with {version}" if release else f"{version} with HIP"
        else:
            version = f"{version} (LLVM's AMDGPU backend, not ROCm)"
        installed = re.search(r"^InstalledDir: (\S+)$", told, flags=re.MULTILINE)
        parts = set(parts_of(path))
        places = Path(installed[1]) if installed else path.resolve().parent
        for name in ("clang", "clang++", "ld.lld"):
            parts |= set(parts_of(places / name))
        if complete:
            return HipCompiler(path, version, tuple(sorted(parts)), None)
        lld = _linker(path, directory, places)
    parts |= set(parts_of(lld))
    toolchain = Toolchain((str(path),), (str(lld),), path, None)
    return HipCompiler(path, version, tuple(sorted(parts)), toolchain)


def _has_headers(path: Path, directory: Path) -> bool:
    """Whether HIP's own headers and device library come with the compiler."""
    (directory / "probe.hip").write_text("#include <hip/hip_runtime.h>\n")
    options = ["-x", "hip", "--cuda-device-only", f"--offload-arch={_PROBE_ARCH}", "-E"]
    command: list[str | Path] = [path, *options, "probe.hip", "-o", "probe.i"]
    return run_tool(command, directory, _PROBE_SECONDS).code == 0


def _linker(path: Path, directory: Path, installed: Path) -> Path:
    """The ld.lld that belongs to a clang. MissingError when there is none."""
    name = ask(path, directory, "-print-prog-name=ld.lld").strip()
    number = re.search(r"-(\d+)$", path.name)
    names = [name, *([f"ld.lld-{number[1]}"] if number else []), "ld.lld"]
    for candidate in names:
        places = f"{path.parent}:{installed}"
        found = shutil.which(candidate, path=places) or shutil.which(candidate)
        if found:
            return Path(found)
    raise MissingError(f"{path} has no ld.lld beside it, nor on PATH; install lld of its release")

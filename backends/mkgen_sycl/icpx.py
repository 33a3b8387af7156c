"""icpx, or another DPC++ driver that the user names by --toolchain: SYCL text to SPIR-V.

The whole file is compiled and linked as build.sh does, and the driver is asked for the device
image it puts into the library: no other output is linked with DPC++'s device libraries.
"""

from __future__ import annotations

import functools
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mkgen.codegen.external import ask, compile_step, digest, parts_of
from mkgen.errors import CompileError, MissingError

_DPCPP = re.compile(r"Intel\(R\) oneAPI DPC\+\+/C\+\+ Compiler|DPC\+\+ compiler|intel/llvm")


@dataclass(frozen=True)
class Icpx:
    """A DPC++ driver that answers."""

    path: Path
    version: str
    """`Intel(R) oneAPI DPC++/C++ Compiler 2025.1.1 (2025.1.1.20250418)`."""
    parts: tuple[Path, ...]
    """Every file that takes part: a wrapper, the clang it runs, their libraries."""

    @property
    def sha(self) -> str:
        """Hash of all parts, read again when one was replaced."""
        return digest(self.parts)

    def __str__(self) -> str:
        return f"{self.version} {self.sha}"


@functools.cache
def find_icpx(path: Path) -> Icpx:
    """The DPC++ driver at `path`. MissingError when it does not run, or is another program."""
    with tempfile.TemporaryDirectory(prefix="mkgen-icpx-") as scratch:
        told = ask(path, Path(scratch), "--version")
    first = (told.strip().splitlines() or ["nothing"])[0]
    if not _DPCPP.search(told):
        raise MissingError(
            f"{path} is no DPC++ compiler (--version says {first!r}); give --toolchain "
            "sycl=/opt/intel/oneapi/compiler/latest/bin/icpx"
        )
    parts = set(parts_of(path))
    installed = re.search(r"^InstalledDir: (\S+)$", told, flags=re.MULTILINE)
    if installed:
        # icpx is a small driver: the compiler is the clang in its own directory
        places = (Path(installed[1]), Path(installed[1]) / "compiler")
        for name in ("clang++", "sycl-post-link", "llvm-spirv", "clang-linker-wrapper"):
            for place in places:
                parts |= set(parts_of(place / name))
    return Icpx(path, first, tuple(sorted(parts)))


def compile_by_icpx(
    icpx: Icpx, name: str, text: str, options: tuple[str, ...], directory: Path
) -> tuple[bytes, str, str]:
    """SPIR-V of `text`, the log, and the command. CompileError with icpx's log."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(text)
    images = Path(tempfile.mkdtemp(prefix="images-", dir=directory))
    library = f"{Path(name).stem}.so"
    flags = ["-fsycl", "-fsycl-targets=spir64", "-O3", "-std=c++17", *options, "-shared", "-fPIC"]
    dump = f"-fsycl-dump-device-code={images.name}"
    try:
        log = compile_step(
            [icpx.path, *flags, dump, name, "-o", library],
            directory,
            f"{icpx.version} on {name}",
            directory / library,
        )
        found = sorted(images.rglob("*.spv"))
        if len(found) != 1:
            raise CompileError(
                f"{icpx.version} put {len(found)} SPIR-V images into {library}; mkgen needs one",
                log,
            )
        return found[0].read_bytes(), log, " ".join((icpx.path.name, *flags, name, "-o", library))
    finally:
        shutil.rmtree(images, ignore_errors=True)
        (directory / library).unlink(missing_ok=True)

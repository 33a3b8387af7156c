"""Builds a kernel text for this CPU: finds a C++ compiler, compiles once, keeps the result."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from mkgen.codegen.external import digest, parts_of
from mkgen.document import content_hash
from mkgen.errors import CompileError, ExecutionError, MissingError
from mkgen.program import Source

Language = Literal["cuda", "hip"]

INCLUDE = Path(__file__).resolve().parent / "include"
LIBRARY = "kernel.so"
REMEDY = "pip install ziglang (a C++ compiler in a wheel), or put g++ or clang++ on PATH"

#: No contraction: a GPU compiler fuses where the text allows it, a host compiler where it likes.
#: No exceptions, RTTI or C++ library: the link then needs nothing but libc and libm.
FLAGS = (
    "-std=c++17", "-O2", "-g0", "-w", "-fPIC", "-fvisibility=hidden", "-fomit-frame-pointer",
    "-ffp-contract=off", "-fno-math-errno", "-fno-exceptions", "-fno-rtti",
)  # fmt: skip

# `extern __shared__ T name[];` declares storage that no host object can have; the runtime's macro
# for the same thing goes in its place, on the same line.
_DYNAMIC_SHARED = re.compile(
    r"\bextern\s+(?:(?:__align__|alignas)\s*\([^()]*\)\s*)?__shared__\s+"
    r"(?:(?:__align__|alignas)\s*\([^()]*\)\s*)?"
    r"(?P<type>[A-Za-z_][\w:]*(?:\s+[A-Za-z_][\w:]*)*(?:\s*<[^;\[\]]*>)?)\s+(?P<name>\w+)\s*\[\s*\]\s*;"
)


#: Variables by which compilers find other headers, parts or options than the key holds.
_STEERS = re.compile(
    r"(C|CPLUS|OBJC)_INCLUDE_PATH|CPATH|LIBRARY_PATH|COMPILER_PATH|GCC_.*|CCC_.*|ZIG_.*|LD_PRELOAD"
    r"|DEPENDENCIES_OUTPUT|SUNPRO_DEPENDENCIES|SOURCE_DATE_EPOCH"
)


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler for this machine."""

    command: tuple[str, ...]
    binary: Path
    """The file whose hash identifies it."""
    title: str
    """`clang 22.1.8 in ziglang 0.17.0`."""
    link: tuple[str, ...]
    """What links one object into a shared object; `-o OUT IN` follows."""
    parts: tuple[Path, ...] = ()
    """Other files that decide what it gives: the compiler behind a driver, LLVM's library."""
    cpu_separator: str = "-"
    """Between the parts of a CPU's name: `x86-64-v3`; zig writes `x86_64_v3`."""


def _version(command: tuple[str, ...]) -> str:
    done = subprocess.run(
        [*command, "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()[0].strip()


def _zig() -> Compiler | None:
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / ("zig.exe" if os.name == "nt" else "zig")
    if not binary.is_file():
        return None
    command = (sys.executable, "-m", "ziglang", "c++")
    title = f"{_version(command)} in ziglang {importlib.metadata.version('ziglang')}"
    # Zig's own driver would first build compiler-rt (half a minute, once a machine); the linker
    # alone needs none of it.
    return Compiler(
        command,
        binary,
        title,
        (sys.executable, "-m", "ziglang", "ld.lld", "-shared"),
        cpu_separator="_",
    )


def on_path(name: str) -> Compiler | None:
    """The compiler `name` of PATH; None where there is none."""
    found = shutil.which(name)
    if found is None:
        return None
    binary = Path(found).resolve()
    asked = subprocess.run(
        [found, "-print-prog-name=cc1plus"], capture_output=True, text=True, timeout=60, check=False
    )
    proper = Path(asked.stdout.strip())
    parts = {*parts_of(binary), *([proper] if proper.is_file() else [])} - {binary}
    return Compiler((found,), binary, _version((found,)), (found, "-shared"), tuple(sorted(parts)))


@lru_cache(maxsize=1)
def find_compiler() -> Compiler:
    """The compiler to use: ziglang's clang, then clang++, then g++. MissingError without one."""
    tried = []
    for name in ("ziglang", "clang++", "g++"):
        try:
            found = _zig() if name == "ziglang" else on_path(name)
        except (OSError, subprocess.SubprocessError) as error:
            tried.append(f"{name}: {error}")
            continue
        if found is not None:
            return found
        tried.append(f"{name}: not found")
    raise MissingError(f"no C++ compiler for SIMT-on-host ({'; '.join(tried)}); remedy: {REMEDY}")


@lru_cache(maxsize=4)
def binary_hash(path: Path) -> str:
    """SHA-256 of the file `path`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def machine_flags(compiler: Compiler) -> tuple[str, ...]:
    """Flags for this CPU: x86-64-v3 where it has FMA and F16C, so that `fmaf` is an instruction."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ()
    cpuinfo = Path("/proc/cpuinfo")
    words = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    modern = {"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "abm"} <= words
    name = "x86-64-v3" if modern else "x86-64"
    return (f"-march={name.replace('-', compiler.cpu_separator)}",)


def cache_root() -> Path:
    """`$MKGEN_CACHE`, `$XDG_CACHE_HOME/mkgen` or `~/.cache/mkgen`."""
    if chosen := os.environ.get("MKGEN_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mkgen"


def shared_root() -> Path:
    """A cache that may be read but not written: `$MKGEN_CACHE_READ`, else `cache_root()`."""
    return Path(os.environ.get("MKGEN_CACHE_READ") or cache_root())


def host_text(source: Source) -> str:
    """The text of `source` as the host compiler reads it: dynamic shared memory by its macro."""

    def macro(found: re.Match[str]) -> str:
        # lines keep their numbers: messages name them
        lines = "\n" * found.group().count("\n")
        return f"HIP_DYNAMIC_SHARED({' '.join(found['type'].split())}, {found['name']}){lines}"

    return _DYNAMIC_SHARED.sub(macro, source.text)


@lru_cache(maxsize=1)
def headers_hash() -> str:
    """Hash of every file of the runtime."""
    files = sorted(p for p in INCLUDE.rglob("*") if p.is_file())
    return content_hash(
        *(part for p in files for part in (str(p.relative_to(INCLUDE)), p.read_bytes()))
    )


def defines(language: Language, lanes: int, shared_limit: int) -> tuple[str, ...]:
    """The macros that tell the runtime which device it stands for."""
    vendor = ("-DMKGEN_SIMT_HIP=1",) if language == "hip" else ()
    return (f"-DMKGEN_SIMT_LANES={lanes}", f"-DMKGEN_SIMT_SHARED_LIMIT={shared_limit}", *vendor)


def build(source: Source, launcher: str, options: tuple[str, ...]) -> Path:
    """The shared object of `source`, from the cache when it was built before.

    CompileError with the compiler's log when it refuses the text.
    """
    compiler = find_compiler()
    entry = f'#include "{source.name}"\nMKGEN_SIMT_ENTRY({launcher})\n'
    text = host_text(source)
    flags = (*FLAGS, *machine_flags(compiler), *options)
    key = content_hash(
        text,
        source.name,
        entry,
        headers_hash(),
        binary_hash(compiler.binary),
        digest(compiler.parts),
        compiler.title,
        *flags,
        *compiler.link[2:],
    )

    def make(scratch: Path) -> None:
        (scratch / source.name).write_text(text)
        (scratch / "entry.cpp").write_text(entry)
        objects = ([*flags, "-c", "entry.cpp", "-o", "entry.o"],)
        compile_and_link(compiler, objects, compiler.link, source.name, scratch)

    return kept(key, make)


def kept(key: str, make: Callable[[Path], None]) -> Path:
    """The file LIBRARY that `make` leaves in an empty directory; from the cache where it is there.

    ExecutionError when the cache cannot be written.
    """
    home = cache_root() / "simt" / key[:2]
    final = home / key
    # a worker that runs a stranger's text has a cache of its own, and may read the user's
    for kept in (final, shared_root() / "simt" / key[:2] / key):
        if _intact(kept):
            return kept / LIBRARY
    try:
        home.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f"{key[:16]}-", dir=home))
    except OSError as error:
        raise _unwritable(home, error) from error
    try:
        make(scratch)
        (scratch / "sha256").write_text(_file_hash(scratch / LIBRARY))
        _publish(scratch, final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return final / LIBRARY


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _intact(entry: Path) -> bool:
    library, digest = entry / LIBRARY, entry / "sha256"
    return library.is_file() and digest.is_file() and digest.read_text() == _file_hash(library)


def _publish(scratch: Path, final: Path) -> None:
    """Moves a finished build to its place; another process may have put the same one there."""
    if final.exists() and not _intact(final):
        shutil.rmtree(final)
    try:
        scratch.rename(final)
    except OSError as error:
        if not _intact(final):
            raise _unwritable(final.parent, error) from error


def _unwritable(directory: Path, error: OSError) -> ExecutionError:
    return ExecutionError(
        f"cannot write the build cache {directory}: {error.strerror}; set MKGEN_CACHE to a "
        "directory that can be written"
    )


def compile_and_link(
    compiler: Compiler,
    objects: Sequence[Sequence[str]],
    link: Sequence[str],
    title: str,
    scratch: Path,
) -> None:
    """LIBRARY in `scratch` of `objects`, each the arguments that make one, `-o NAME` last.

    CompileError as `run_compiler`.
    """
    names = [arguments[-1] for arguments in objects]
    for arguments in objects:
        run_compiler(compiler, arguments, title, scratch)
    _run(compiler, [*link, "-o", LIBRARY, *names], title, scratch)
    shutil.rmtree(scratch / "zig", ignore_errors=True)
    for name in names:
        (scratch / name).unlink()


def run_compiler(compiler: Compiler, arguments: Sequence[str], title: str, scratch: Path) -> None:
    """Runs `compiler` in `scratch` with the runtime's headers at hand.

    CompileError with the compiler's log when it refuses the text called `title`.
    """
    _run(compiler, [*compiler.command, f"-I{INCLUDE}", *arguments], title, scratch)


def _run(compiler: Compiler, command: Sequence[str], title: str, scratch: Path) -> None:
    # Zig keeps every object it ever made: a cache of its own, dropped with the build's leftovers.
    zig = str(scratch / "zig")
    kept = {name: value for name, value in os.environ.items() if not _STEERS.fullmatch(name)}
    env = {**kept, "ZIG_GLOBAL_CACHE_DIR": zig, "ZIG_LOCAL_CACHE_DIR": zig}
    done = subprocess.run(command, cwd=scratch, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        log = (done.stderr + done.stdout).replace(f"{INCLUDE}/", "")
        first = next((line for line in log.splitlines() if "error" in line), log[:200])
        raise CompileError(f"{compiler.title} refused {title} as host C++: {first.strip()}", log)

"""Compilers of the user, `--toolchain hip=/opt/rocm/bin/hipcc`: which one, what it is, running it.

The choice goes to worker processes as an environment variable per backend. A compiler is known by
the bytes of everything it is made of: nightly builds share their version texts.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mkgen.codegen.backend import Ability
from mkgen.document import content_hash
from mkgen.errors import CompileError, MissingError, UserError

_VARIABLE = "MKGEN_TOOLCHAIN_"
_QUESTION_SECONDS = 20.0
_SCRIPT_DEPTH = 3
_SCRIPT_BYTES = 1 << 20
_LOG_CHARACTERS = 200_000
#: An absolute path as a script writes it.
_PATH = re.compile(r"(?<![\w./$}-])(/[\w.+@/-]+)")
_LIBRARY = re.compile(r"=> (/\S+) \(0x")


@dataclass(frozen=True)
class Done:
    """How a tool ended and what it printed, stdout first."""

    code: int
    log: str

    @property
    def ending(self) -> str:
        """`exit status 1`, or the signal that ended it, also when a shell reports it."""
        name = self._signal()
        return f"it crashed: {name}" if name else f"exit status {self.code}"

    @property
    def crashed(self) -> bool:
        """Whether a signal ended it."""
        return bool(self._signal())

    def _signal(self) -> str:
        number = -self.code if self.code < 0 else self.code - 128
        known = {int(s): s.name for s in signal.Signals}
        return known.get(number, "")


def chosen_compiler(backend: str) -> Path | None:
    """The compiler the user chose for `backend`; None when the backend looks for its own."""
    text = os.environ.get(_VARIABLE + backend.upper())
    return Path(text) if text else None


@contextmanager
def compilers(chosen: Mapping[str, Path]) -> Iterator[None]:
    """Within it, backends (by name) compile with the `chosen` binaries, in workers as well."""
    before = {_VARIABLE + name.upper(): os.environ.get(_VARIABLE + name.upper()) for name in chosen}
    os.environ.update({_VARIABLE + name.upper(): str(path) for name, path in chosen.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def check_executable(path: Path) -> Path:
    """`path` made absolute. UserError when it is no file that can be executed."""
    absolute = Path(os.path.abspath(path.expanduser()))
    if not absolute.exists():
        found = shutil.which(path.name)
        hint = f"; there is one at {found}" if found else ""
        raise UserError(f"--toolchain: {path} does not exist{hint}")
    if not absolute.is_file():
        raise UserError(f"--toolchain: {path} is no file; name the compiler's binary itself")
    if not os.access(absolute, os.X_OK):
        raise UserError(f"--toolchain: {path} cannot be executed; chmod +x {path}")
    return absolute


def external_ability(backend: str, identify: Callable[[Path], str]) -> Ability | None:
    """What doctor says of the user's compiler; None when none was chosen for `backend`."""
    path = chosen_compiler(backend)
    if path is None:
        return None
    try:
        return Ability(True, f"{identify(path)}, by --toolchain {path}", (str(path),))
    except MissingError as error:
        remedy = f"give another --toolchain {backend}=PATH, or leave it out"
        return Ability(False, tried=(str(path),), reason=str(error), remedy=remedy)


def run_tool(command: Sequence[str | Path], directory: Path, seconds: float | None = None) -> Done:
    """Runs `command` in `directory`, as a child that dies with this worker's process group.

    Without `seconds` the worker's own deadline is the limit. MissingError when the file cannot be
    started, or does not end in time.
    """
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        shown = " ".join(str(word) for word in command[:3])
        raise MissingError(
            f"{shown} did not end within {seconds:g} s; choose another compiler by --toolchain"
        ) from error
    except OSError as error:
        raise MissingError(
            f"{command[0]} cannot be started ({error.strerror}); choose another compiler by "
            "--toolchain"
        ) from error
    return Done(done.returncode, done.stdout.decode(errors="replace")[-_LOG_CHARACTERS:])


def ask(path: Path, directory: Path, *arguments: str) -> str:
    """What `path` prints for a question such as `--version`. MissingError when it fails."""
    done = run_tool([path, *arguments], directory, _QUESTION_SECONDS)
    if done.code != 0:
        said = f" ({done.log.strip()[-200:]})" if done.log.strip() else ""
        raise MissingError(
            f"{path} {' '.join(arguments)}: {done.ending}{said}; choose another compiler by "
            "--toolchain"
        )
    return done.log


def compile_step(command: Sequence[str | Path], directory: Path, what: str, output: Path) -> str:
    """Runs a compiler that has to write `output`; gives its log.

    CompileError, with the log, when it fails, is killed, or writes nothing; `what` names it.
    """
    output.unlink(missing_ok=True)
    done = run_tool(command, directory)
    if done.code != 0:
        lines = [line.strip() for line in done.log.splitlines() if re.search("error[ :]", line)]
        told = f": {lines[0]}" if lines else ""
        raise CompileError(f"{what}: {done.ending}{told}", done.log)
    if not output.is_file() or not output.stat().st_size:
        how = "is empty" if output.is_file() else "is not there"
        raise CompileError(f"{what} said that all went well, but {output.name} {how}", done.log)
    return done.log


def digest(files: Iterable[Path]) -> str:
    """What the bytes of `files` are: one file's SHA-256, or a hash over those of several."""
    shas = list(dict.fromkeys(file_sha(path) for path in files))
    return shas[0] if len(shas) == 1 else content_hash(*shas)


def file_sha(path: Path) -> str:
    """SHA-256 of a file; read again when the file has been written or replaced meanwhile."""
    try:
        info = path.stat()
        stamp = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
        return _file_sha(path, stamp)
    except OSError as error:
        raise MissingError(
            f"{path}, a part of the compiler, cannot be read: {error.strerror}"
        ) from error


@functools.cache
def _file_sha(path: Path, stamp: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parts_of(path: Path) -> tuple[Path, ...]:
    """`path`, what it runs when it is a script that names it, and the libraries of each.

    Sorted, without the C library and its kin, which compile nothing.
    """
    found: set[Path] = set()
    _collect(path, found, _SCRIPT_DEPTH)
    return tuple(sorted(found))


def _collect(path: Path, found: set[Path], depth: int) -> None:
    path = path.resolve()
    if path in found or not path.is_file() or not os.access(path, os.X_OK):
        return
    found.add(path)
    with path.open("rb") as file:
        start = file.read(4)
        if start[:2] == b"#!" and depth:
            text = (start + file.read(_SCRIPT_BYTES)).decode(errors="replace")
            for name in _PATH.findall(text.partition("\n")[2]):
                _collect(Path(name), found, depth - 1)
    if start == b"\x7fELF":
        found.update(_libraries(path))


def _libraries(path: Path) -> Iterator[Path]:
    """Shared libraries of a program that hold a compiler: LLVM's, clang's, the vendor's."""
    if shutil.which("ldd") is None:
        return
    listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    for name in _LIBRARY.findall(listed):
        library = Path(name)
        if re.match(r"lib(LLVM|clang|nv|amd|sycl|ocl|ig[cd]|lld)", library.name):
            yield library.resolve()

"""What a worker can see of the machine: an allow-list of places, at the paths they have here."""

from __future__ import annotations

import contextlib
import glob
import os
import site
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from mkgen.codegen.external import chosen_compiler, parts_of
from mkgen.share import share_root

#: Directories of the system, where they exist: programs, libraries, headers, settings.
_SYSTEM = (
    "bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "opt", "nix", "gnu", "snap",
    "sys",
)  # fmt: skip
_NODES = ("null", "zero", "full", "random", "urandom")
_LINKS = {
    "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}  # fmt: skip
#: Variables whose value is a place of the user's, not of a tool.
_PRIVATE = ("HOME", "PWD", "OLDPWD", "TMPDIR", "MKGEN_CACHE", "MKGEN_CACHE_READ", "MKGEN_WINNERS")
#: More places that workers may read, separated by colons.
READABLE_VARIABLE = "MKGEN_READABLE"
_MEMORY_FILES = "64m"
_ETC_DEPTH = 2

Kind = Literal["read", "write", "device", "empty", "scratch", "mask", "link"]


@dataclass(frozen=True)
class Mount:
    """One place in a worker's view. A later one lies on top of an earlier one."""

    kind: Kind
    """read, write, device: as it is here, read-only but for the two. empty: an empty directory
    lies over it; mask: an empty file. scratch: a small file system in memory. link: symbolic."""
    path: str
    detail: str = ""
    """Of scratch its size, of link its target."""


@dataclass(frozen=True)
class View:
    """Everything a worker sees, outermost places first."""

    mounts: tuple[Mount, ...]

    def of(self, *kinds: Kind) -> list[str]:
        """The paths of `kinds`."""
        return [m.path for m in self.mounts if m.kind in kinds]

    def allowed(self) -> tuple[list[str], list[str]]:
        """Readable places as lists that need no exceptions, for Landlock, which has none.

        Those readable with all below them, and directories of which the names can be listed.
        """
        found: list[str] = []
        listed: list[str] = []
        for number, mount in enumerate(self.mounts):
            if mount.kind == "read":
                above = [m.path for m in self.mounts[number:] if m.kind in ("empty", "mask")]
                _around(mount.path, [p for p in above if _below(p, mount.path)], found, listed)
        return found, listed


def view_of(
    environment: Mapping[str, str],
    write: Sequence[Path],
    read: Sequence[Path],
    devices: Sequence[str],
    hidden: Sequence[Path],
) -> View:
    """The view of a worker with `environment`.

    `write` and `read` are its own directories; `devices` are patterns of device files, and of
    sockets of drivers; `hidden` lies within what is visible and is not.
    """
    places = {*_system(), *_python(), *_compilers(), *_named(environment)}
    # a directory for temporary files may lie within a project, which is shown; what is in it is not
    private = (
        *_unreadable(),
        *_dotted(),
        *map(str, hidden),
        os.path.abspath(tempfile.gettempdir()),
    )
    masked = {p for p in private if os.path.lexists(p)}
    mounts = [Mount("read", p) for p in places if _worth(p)]
    mounts += [Mount("read", str(p)) for p in read]
    mounts += [Mount("empty" if os.path.isdir(p) else "mask", p) for p in masked]
    mounts += [Mount("scratch", p, _MEMORY_FILES) for p in ("/tmp", "/dev/shm")]
    mounts += [Mount("device", f"/dev/{n}") for n in _NODES]
    mounts += [Mount("device", p) for pattern in devices for p in sorted(glob.glob(pattern))]
    mounts += [Mount("link", f"/dev/{n}", target) for n, target in _LINKS.items()]
    mounts += [Mount("link", p, t) for p, t in _system_links()]
    mounts += [Mount("write", str(p)) for p in write]
    return View(tuple(_without_idle(sorted(set(mounts), key=_depth))))


def _depth(mount: Mount) -> tuple[int, int, str]:
    # of two at one place the one that is to be seen comes last: what hides, what is read, the rest
    rank = {"empty": 0, "mask": 0, "read": 1}.get(mount.kind, 2)
    return (mount.path.count("/"), rank, mount.path)


def _without_idle(mounts: Iterable[Mount]) -> Iterator[Mount]:
    """Leaves out what a mount above shows already, and what hides nothing."""
    kept: list[Mount] = []
    for mount in mounts:
        over = next((m for m in reversed(kept) if _below(mount.path, m.path)), None)
        above = over.kind if over is not None else ""
        if mount.kind == "read" and above in ("read", "write"):
            continue
        if mount.kind in ("empty", "mask") and above != "read":
            continue
        kept.append(mount)
        yield mount


def _below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")


def _around(path: str, hidden: Sequence[str], found: list[str], listed: list[str]) -> None:
    """Adds `path`, or what is in it but for `hidden`."""
    if path in hidden:
        return
    if not hidden:
        found.append(path)
        return
    listed.append(path)
    names: list[str] = []
    with contextlib.suppress(PermissionError):
        names = sorted(os.listdir(path))
    for name in names:
        inner = os.path.join(path, name)
        _around(inner, [h for h in hidden if _below(h, inner)], found, listed)


def _system() -> list[str]:
    return [f"/{n}" for n in _SYSTEM if os.path.isdir(f"/{n}") and not os.path.islink(f"/{n}")]


def _system_links() -> list[tuple[str, str]]:
    return [(f"/{n}", os.readlink(f"/{n}")) for n in _SYSTEM if os.path.islink(f"/{n}")]


def _python() -> list[str]:
    """The interpreter, its libraries, mkgen, and what PYTHONPATH and .pth files name."""
    package = Path(__file__).parents[2]
    shares = [str(share_root(kind)) for kind in ("templates", "tasks", "hardware_profiles")]
    prefixes = [sys.prefix, sys.exec_prefix, sys.base_prefix, os.path.realpath(sys.executable)]
    user = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    given = [str(package), *shares, *prefixes, *user, *_path_entries()]
    return [*given, *(os.path.realpath(p) for p in given)]


def _path_entries() -> list[str]:
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [os.path.abspath(p) for p in (*sys.path, *named) if p]


def _compilers() -> Iterator[str]:
    """What `--toolchain` names, with the installation around it."""
    for name in os.environ:
        if not name.startswith("MKGEN_TOOLCHAIN_"):
            continue
        chosen = chosen_compiler(name.removeprefix("MKGEN_TOOLCHAIN_").lower())
        if chosen is None or not chosen.exists():
            continue
        for part in (chosen, *_parts(chosen)):
            yield from _installation(part)


@cache
def _parts(compiler: Path) -> tuple[Path, ...]:
    return parts_of(compiler)


def _installation(program: Path) -> Iterator[str]:
    yield str(program)
    for directory in {program.parent, program.resolve().parent}:
        yield str(directory)
        if directory.name == "bin":
            yield str(directory.parent)


def _named(environment: Mapping[str, str]) -> Iterator[str]:
    """Places that variables name: PATH, CUDA_HOME, LD_LIBRARY_PATH and their like."""
    for name, value in environment.items():
        if name in _PRIVATE or name.startswith("XDG_"):
            continue
        for part in value.split(os.pathsep):
            if part.startswith("/") and os.path.exists(part):
                yield os.path.normpath(part)
    for part in os.environ.get(READABLE_VARIABLE, "").split(os.pathsep):
        if part:
            yield os.path.abspath(part)


def _worth(path: str) -> bool:
    """Whether `path` may be shown: it is there, and does not hold everyone's things."""
    if any(_below(path, link) for link, _ in _system_links()):
        return False  # what it leads to is shown
    return os.path.exists(path) and not any(_below(p, path) for p in _shared())


@cache
def _shared() -> tuple[str, ...]:
    """Directories that hold a user's own things; neither they nor what holds them are shown."""
    homes = {os.path.expanduser("~"), os.environ.get("HOME") or "/root", "/root", "/home"}
    places = {*homes, "/tmp", "/var/tmp", "/run", "/dev", "/proc"}
    return tuple({*places, *(os.path.realpath(p) for p in places)})


@cache
def _unreadable() -> tuple[str, ...]:
    """Settings that not everybody may read: workers of root would be able to."""
    found: list[str] = []
    waiting = [("/etc", 0)]
    while waiting:
        directory, depth = waiting.pop()
        try:
            entries = list(os.scandir(directory))
        except OSError:
            continue
        for entry in entries:
            try:
                mode = entry.stat(follow_symlinks=False).st_mode
            except OSError:
                continue
            if stat.S_ISLNK(mode):
                continue
            if not mode & stat.S_IROTH:
                found.append(entry.path)
            elif stat.S_ISDIR(mode) and depth + 1 < _ETC_DEPTH:
                waiting.append((entry.path, depth + 1))
    return tuple(found)


def _dotted() -> Iterator[str]:
    """Hidden files beside modules: `.env`, `.git`, `.ssh` of a checkout that is on the path."""
    for entry in _path_entries():
        if os.path.isdir(entry) and _worth(entry):
            yield from (e.path for e in os.scandir(entry) if e.name.startswith("."))

"""How workers are confined on this machine: the best layer that really works here."""

from __future__ import annotations

import functools
import json
import marshal
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from mkgen.errors import MissingError
from mkgen.evaluate.confine import inside
from mkgen.evaluate.confine.inside import landlock
from mkgen.evaluate.confine.limits import WorkerLimits
from mkgen.evaluate.confine.view import Mount, View, view_of

Name = Literal["bubblewrap", "namespaces", "landlock", "limits"]
NAMES: tuple[Name, ...] = get_args(Name)
#: Takes this layer and no other; MissingError where it does not work.
VARIABLE = "MKGEN_CONFINEMENT"

_PROBE_SECONDS = 20.0
_KEEPER = Path(inside.__file__).with_name("__main__.py")
_REMEDIES: dict[Name, str] = {
    "bubblewrap": "apt install bubblewrap",
    "namespaces": "sysctl kernel.unprivileged_userns_clone=1, or a container that allows user "
    "namespaces",
    "landlock": "Linux 6.12 or newer with landlock among its security modules",
    "limits": "run mkgen on Linux",
}
_HOLDS: dict[Name, str] = {
    "bubblewrap": "own processes, network, users and root directory, by bubblewrap",
    "namespaces": "own processes, network, users and root directory, by namespaces",
    "landlock": "an allow-list of files, no sockets, no signals to others; processes stay visible",
    "limits": "limits of time, memory, processes and disk only: run no text that you do not trust",
}
#: Run in a probe; it ends with 0 when what the layer promises holds.
_QUESTION = """
import json, os, socket, sys
outside, parent, port, layer = json.loads(sys.argv[1])
open("inside", "w").write("x")
if layer != "limits":
    try:
        open(outside, "w").close()  # there may be another directory at this path, for us alone
    except OSError:
        pass
    for attempt in (lambda: os.kill(parent, 0),
                    lambda: socket.create_connection(("127.0.0.1", port), 1)):
        try:
            attempt()
        except OSError:
            continue
        sys.exit("it does not keep a process from signalling or connecting to others")
"""


@dataclass(frozen=True)
class Tried:
    """One layer, and why it does not work here; empty when it does."""

    name: Name
    reason: str

    @property
    def remedy(self) -> str:
        """What would make it work."""
        return _REMEDIES[self.name] if self.reason else ""


@dataclass(frozen=True)
class Confinement:
    """The layer that workers are started in."""

    name: Name
    filtered: bool
    """Whether system calls are filtered too."""
    tried: tuple[Tried, ...]
    """From the best to the one that holds."""

    @property
    def holds(self) -> str:
        """What it holds, for people."""
        return _HOLDS[self.name] + (", filtered system calls" if self.filtered else "")

    def command(
        self,
        worker: Sequence[str],
        view: View,
        directory: Path,
        base: Path,
        limits: WorkerLimits,
    ) -> list[str]:
        """What starts `worker` confined, in `directory`; `base` is an empty directory."""
        spec: dict[str, Any] = {
            "layer": self.name,
            "filter": self.filtered,
            "parent": os.getpid(),
            "mounts": [(m.kind, m.path, m.detail) for m in view.mounts],
            "base": str(base),
            "directory": str(directory),
            "command": list(worker),
            "limits": limits.of_process(self.name),
            "tasks": limits.tasks,
        }
        if self.name == "landlock":
            read, listed = view.allowed()
            spec["read"] = [*read, "/proc"]
            spec["list"] = listed
            spec["write"] = view.of("write")
            spec["devices"] = view.of("device")
        if self.name == "bubblewrap":
            spec["command"] = _bubblewrap(view, directory, worker)
        if self.name != "namespaces":
            del spec["mounts"]
        keeper = [sys.executable, "-I", "-S", str(_KEEPER)]
        return [*keeper, marshal.dumps(spec).hex()]


def confinement(environment: Mapping[str, str] = os.environ) -> Confinement:
    """The best layer that works here, or the one that `MKGEN_CONFINEMENT` names. MissingError."""
    wanted = environment.get(VARIABLE, "")
    if not wanted:
        return _best()
    for name in NAMES:
        if name == wanted:
            return only(name)
    raise MissingError(f"{VARIABLE}={wanted}: it is one of {', '.join(NAMES)}")


@functools.cache
def only(name: Name) -> Confinement:
    """Layer `name`. MissingError where it does not work."""
    reason, filtered = _probe(name)
    if reason:
        raise MissingError(f"confinement by {name} does not work: {reason}; {_REMEDIES[name]}")
    return Confinement(name, filtered, (Tried(name, ""),))


@functools.cache
def _best() -> Confinement:
    tried: list[Tried] = []
    for name in NAMES:
        reason, filtered = _probe(name)
        tried.append(Tried(name, reason))
        if not reason:
            return Confinement(name, filtered, tuple(tried))
    told = "; ".join(f"{t.name}: {t.reason}" for t in tried)
    raise MissingError(f"no process can be limited here ({told}); {_REMEDIES['limits']}")


@functools.cache
def _probe(name: Name) -> tuple[str, bool]:
    """Why layer `name` does not work, and whether it does with filtered system calls."""
    if not sys.platform.startswith("linux"):
        return f"it is made of Linux; this is {sys.platform}", False
    if name == "bubblewrap" and shutil.which("bwrap") is None:
        return "bwrap is not on PATH", False
    if name == "landlock":
        try:
            found = landlock.version()
        except OSError as error:
            return f"this kernel has none ({error.strerror})", False
        if found < landlock.NEEDED:
            return f"this kernel has version {found}; {landlock.NEEDED} is needed", False
    reason = _attempt(name, filtered=True)
    if not reason:
        return "", True
    unfiltered = _attempt(name, filtered=False)
    # without a filter, Landlock leaves UDP and the sockets of others
    if unfiltered or name == "landlock":
        return reason, False
    return "", False


def _attempt(name: Name, *, filtered: bool) -> str:
    """Starts something under layer `name`; empty when all that was promised held."""
    listening = socket.create_server(("127.0.0.1", 0))
    with listening, tempfile.TemporaryDirectory(prefix="mkgen-probe-") as made:
        work, base = Path(made, "work"), Path(made, "root")
        work.mkdir()
        base.mkdir()
        port = listening.getsockname()[1]
        told = json.dumps([str(Path(made, "outside")), os.getpid(), port, name])
        question = [sys.executable, "-I", "-S", "-c", _QUESTION, told]
        view = view_of({}, [work], [], (), [])
        limits = WorkerLimits(resident_bytes=1 << 30)
        command = Confinement(name, filtered, ()).command(question, view, work, base, limits)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if name != "limits" and Path(made, "outside").exists():
            return "it does not keep a process from writing"
        if done.returncode == 0 and (work / "inside").exists():
            return ""
        words = done.stderr.strip().splitlines()
        return words[-1] if words else f"it ended with exit status {done.returncode}"


@functools.cache
def _bubblewrap_options() -> str:
    done = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _bubblewrap(view: View, directory: Path, worker: Sequence[str]) -> list[str]:
    found = [
        shutil.which("bwrap") or "bwrap", "--unshare-all", "--unshare-user", "--die-with-parent",
        "--cap-drop", "ALL",
    ]  # fmt: skip
    known = _bubblewrap_options()
    if "--disable-userns" in known:
        found.append("--disable-userns")
    closed = []
    for mount in view.mounts:
        found += _bubblewrap_mount(mount, sized="--size" in known)
        closed += ["--remount-ro", mount.path] if mount.kind == "empty" else []
    found += ["--proc", "/proc", *closed, "--remount-ro", "/", "--chdir", str(directory)]
    return [*found, "--", *worker]


def _bubblewrap_mount(mount: Mount, *, sized: bool) -> list[str]:
    path = mount.path
    match mount.kind:
        case "read":
            return ["--ro-bind", path, path]
        case "write":
            return ["--bind", path, path]
        case "device":
            return ["--dev-bind", path, path]
        case "empty":
            return ["--tmpfs", path]
        case "mask":
            return ["--ro-bind", "/dev/null", path]
        case "link":
            return ["--symlink", mount.detail, path]
        case "scratch":
            bytes_ = str(int(mount.detail.removesuffix("m")) << 20)
            return [*(["--size", bytes_] if sized else []), "--tmpfs", path]

"""A root directory, processes, network and users of its own, by namespaces."""

from __future__ import annotations

import fcntl
import os

from mkgen.evaluate.confine.inside import calls

TYPE_CHECKING = False  # typing takes longer to import than all the rest
if TYPE_CHECKING:
    from collections.abc import Sequence

    #: (kind, path, detail); see mkgen.evaluate.confine.view.Mount.
    Mounts = Sequence[tuple[str, str, str]]

_ALL = (
    calls.CLONE_NEWUSER | calls.CLONE_NEWNS | calls.CLONE_NEWPID | calls.CLONE_NEWNET
    | calls.CLONE_NEWIPC | calls.CLONE_NEWUTS | calls.CLONE_NEWCGROUP
)  # fmt: skip
_AF_INET, _SOCK_DGRAM, _SIOCSIFFLAGS, _IFF_UP = 2, 2, 0x8914, 1
#: Files of /proc through which root of the machine, whom we may be, changes the machine.
_COVERED = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "driver", "timer_list")


def enter() -> None:
    """New namespaces; the next child is the first process of the PID namespace. OSError."""
    user, group = os.geteuid(), os.getegid()
    calls.unshare(_ALL)
    # a plain user may map itself alone, and only after giving up setgroups
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        try:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        except OSError as error:
            raise OSError(error.errno, f"writing {name}: {os.strerror(error.errno or 0)}") from None
    _loopback()


def _loopback() -> None:
    """Tools that talk to a helper of theirs by TCP can do so, among themselves."""
    handle = calls.call("socket", _AF_INET, _SOCK_DGRAM, 0)
    request = b"lo".ljust(16, b"\0") + _IFF_UP.to_bytes(2, "little") + bytes(22)
    fcntl.ioctl(handle, _SIOCSIFFLAGS, request)
    os.close(handle)


def build_root(base: str, mounts: Mounts, tasks: int) -> None:
    """Makes `base`, an empty directory, the root, with `mounts` in it. OSError."""
    calls.mount("none", "/", None, calls.MS_REC | calls.MS_PRIVATE)
    calls.mount("root", base, "tmpfs", calls.MS_NOSUID | calls.MS_NODEV, "mode=755,size=4m")
    closed = [base]
    for kind, path, detail in mounts:
        _mount(base, kind, path, detail, closed)
    _proc(f"{base}/proc", tasks)
    for path in reversed(closed):
        calls.make_read_only(path, recursive=False)
    calls.become_root(base)


def _mount(base: str, kind: str, path: str, detail: str, closed: list[str]) -> None:
    target = base + path
    quiet = calls.MS_NOSUID | calls.MS_NODEV
    if kind == "link":
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            os.symlink(detail, target)
        return
    _place(target, kind in ("empty", "scratch") or os.path.isdir(path))
    if kind == "empty":
        calls.mount("empty", target, "tmpfs", quiet, "mode=755,size=1m")
        closed.append(target)
    elif kind == "scratch":
        calls.mount("scratch", target, "tmpfs", quiet, f"mode=1777,size={detail}")
    else:
        source = "/dev/null" if kind == "mask" else path
        calls.mount(source, target, None, calls.MS_BIND | calls.MS_REC)
        if kind == "read":
            calls.make_read_only(target)


def _place(target: str, is_directory: bool) -> None:
    if is_directory:
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _proc(target: str, tasks: int) -> None:
    os.makedirs(target, exist_ok=True)
    flags = calls.MS_NOSUID | calls.MS_NODEV | calls.MS_NOEXEC
    calls.mount("proc", target, "proc", flags)
    _set(f"{target}/sys/user/max_user_namespaces", 0)
    if _release() >= (6, 14):  # before, the figure was the whole machine's
        _set(f"{target}/sys/kernel/pid_max", 301 + tasks)
    for name in _COVERED:
        path = f"{target}/{name}"
        if os.path.exists(path):
            calls.mount(path, path, None, calls.MS_BIND | calls.MS_REC)
            calls.make_read_only(path)


def _set(path: str, value: int) -> None:
    try:
        with open(path, "w") as file:
            file.write(str(value))
    except OSError:
        pass  # walls behind the walls: what counts is counted by the parent as well


def _release() -> tuple[int, ...]:
    numbers = os.uname().release.split("-")[0].split(".")[:2]
    return tuple(int(n) for n in numbers if n.isdigit())

"""System calls that Python 3.11 has no function for. Each raises OSError with the call's name."""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False  # typing takes longer to import than all the rest
if TYPE_CHECKING:
    from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

_MNT_DETACH = 2
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1
_MOUNT_ATTR_NOSUID = 2

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_CAPABILITY_VERSION_3 = 0x20080522

#: These have one number on every architecture, as all calls since Linux 5.0 have.
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> int:
    """`name(*arguments)` of libc."""
    result: int = getattr(_libc, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def syscall(name: str, number: int, *arguments: Any) -> int:
    """System call `number`; `name` is for the message."""
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    try:
        return call("syscall", ctypes.c_long(number), *wide)
    except OSError as error:
        raise OSError(error.errno, f"{name}: {os.strerror(error.errno or 0)}") from None


def prctl(option: int, *arguments: int) -> int:
    """prctl(2)."""
    padded = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    return call("prctl", option, *padded)


def die_with_parent(number: int) -> None:
    """Signal `number` comes when the thread that started this process is gone."""
    prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Descendants whose parent ends become children of this process."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def not_inspectable() -> None:
    """No process of the same user can trace this one or read its memory."""
    prctl(_PR_SET_DUMPABLE, 0)


def no_new_privileges() -> None:
    """Set-uid programs give nothing from here on."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """None are left, and none can be had again; root of a namespace is a plain user then."""
    number = 0
    while number < 64:
        try:
            prctl(_PR_CAPBSET_DROP, number)
        except OSError:
            break  # a plain user may not, and has none; or there are no more
        number += 1
    prctl(_PR_CAP_AMBIENT, 4)  # clear all
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    call("capset", header, (ctypes.c_uint32 * 6)())


def unshare(flags: int) -> None:
    """unshare(2)."""
    call("unshare", flags)


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2); the message names the target."""
    try:
        call(
            "mount",
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            data.encode() if data else None,
        )
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} ({target})") from None


def make_read_only(path: str, *, recursive: bool = True) -> None:
    """The mount at `path`, and by default those below it, take no more writing."""
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID, 0, 0, 0)
    syscall(
        "mount_setattr",
        _SYS_MOUNT_SETATTR,
        _AT_FDCWD,
        os.fsencode(path),
        _AT_RECURSIVE if recursive else 0,
        ctypes.byref(attributes),
        ctypes.sizeof(attributes),
    )


def become_root(directory: str) -> None:
    """`directory`, a mount, becomes `/`; what was there is gone."""
    os.chdir(directory)
    number = _SYS_PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(38, f"pivot_root has no known number on {os.uname().machine}")
    syscall("pivot_root", number, b".", b".")
    call("umount2", b".", _MNT_DETACH)
    os.chdir("/")

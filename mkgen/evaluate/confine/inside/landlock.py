"""Landlock: a process takes rights on files, ports, signals and sockets from itself."""

from __future__ import annotations

import ctypes
import os

from mkgen.evaluate.confine.inside import calls

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1

_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_WRITE_FILE, _TRUNCATE, _IOCTL_DEV = 1 << 1, 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

#: Signals and abstract sockets need version 6; without it the parent can be reached.
NEEDED = 6


def version() -> int:
    """The version of Landlock in this kernel; OSError without one."""
    return calls.syscall("landlock_create_ruleset", _CREATE, None, 0, _VERSION_FLAG)


def restrict(places: dict[str, list[str]]) -> None:
    """Only these places, and what is below them, can be reached from here on. OSError.

    `read`, `list` (names only), `write` and `devices`.

    No TCP port can be bound or connected to, and no process outside be signalled or traced.
    Needs no_new_privileges.
    """
    handled = (1 << 16) - 1  # everything that version 5 knows of files
    rules = (ctypes.c_uint64 * 3)(handled, 3, 3)
    ruleset = calls.syscall(
        "landlock_create_ruleset", _CREATE, ctypes.byref(rules), ctypes.sizeof(rules), 0
    )
    rights = {
        "read": _READ,
        "list": _READ_DIR,
        "write": handled,
        "devices": _READ | _WRITE_FILE | _IOCTL_DEV,
    }
    for kind, paths in places.items():
        for path in paths:
            _allow(ruleset, path, rights[kind])
    calls.syscall("landlock_restrict_self", _RESTRICT, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return  # not there, or not for this user anyway
    try:
        is_directory = os.path.isdir(f"/proc/self/fd/{handle}")
        allowed = rights if is_directory else rights & _ON_FILES
        packed = allowed.to_bytes(8, "little") + handle.to_bytes(4, "little", signed=True)
        rule = ctypes.create_string_buffer(packed, len(packed))
        calls.syscall("landlock_add_rule", _ADD, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(handle)

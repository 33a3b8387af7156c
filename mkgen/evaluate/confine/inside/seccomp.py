"""A filter of system calls: what a kernel's text never needs and an attacker would like.

It refuses with EPERM, so that libraries which only ask go on. It is a second wall behind the
namespaces, and the one against the network where there are none.
"""

from __future__ import annotations

import ctypes
import os
import struct

from mkgen.evaluate.confine.inside import calls

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_EPERM, _ENOSYS = 1, 38
_SET_MODE_FILTER = 2
_PR_SET_SECCOMP = 22
_X32 = 0x40000000
_NAMESPACE_FLAGS = 0x7E020080

# offsets in struct seccomp_data; arguments are 8 bytes each, low word first
_NR, _ARCH, _ARGUMENTS = 0, 4, 16

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16

_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

#: name: (x86-64, aarch64); None: the architecture has no such call.
_DENIED: dict[str, tuple[int | None, int]] = {
    "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171), "bpf": (321, 280),
    "chroot": (161, 51), "clock_adjtime": (305, 266), "clock_settime": (227, 112),
    "delete_module": (176, 106), "fanotify_init": (300, 262), "finit_module": (313, 273),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433),
    "init_module": (175, 105), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425), "ioperm": (173, -1), "iopl": (172, -1),
    "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219),
    "lookup_dcookie": (212, 18), "mount": (165, 40), "mount_setattr": (442, 442),
    "move_mount": (429, 429), "open_by_handle_at": (304, 265), "open_tree": (428, 428),
    "perf_event_open": (298, 241), "pivot_root": (155, 41), "quotactl": (179, 60),
    "reboot": (169, 142), "request_key": (249, 218), "setns": (308, 268),
    "settimeofday": (164, 170), "swapoff": (168, 225), "swapon": (167, 224),
    "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}  # fmt: skip

#: Also where no namespace hides other processes and the network.
_DENIED_BESIDE_OTHERS: dict[str, tuple[int | None, int]] = {
    "accept": (43, 202), "accept4": (288, 242), "bind": (49, 200), "connect": (42, 203),
    "listen": (50, 201), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434),
    "process_madvise": (440, 440), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "ptrace": (101, 117), "socket": (41, 198), "kcmp": (312, 272),
}  # fmt: skip
_SOCKET = (41, 198)
_SENDTO = (44, 206)
_CLONE = (56, 220)
_CLONE3 = 435


def _statement(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, k)


def _load(offset: int) -> bytes:
    return _statement(0x20, offset)


def _give(value: int) -> bytes:
    return _statement(0x06, value)


def _if_equal(k: int, yes: int, no: int) -> bytes:
    return _statement(0x15, k, yes, no)


def program(machine: str, *, alone: bool) -> bytes:
    """The filter for `machine`; `alone`: in namespaces of its own. KeyError for an unknown one."""
    architecture = _MACHINES[machine]
    column = 0 if machine == "x86_64" else 1
    refuse = _give(_ERRNO | _EPERM)
    parts = [_load(_ARCH), _if_equal(architecture, 1, 0), _give(_ERRNO | _ENOSYS), _load(_NR)]
    if machine == "x86_64":
        parts += [_statement(0x35, _X32, 0, 1), _give(_ERRNO | _ENOSYS)]
    denied = _DENIED if alone else _DENIED | _DENIED_BESIDE_OTHERS
    for numbers in denied.values():
        number = numbers[column]
        if number is not None and number >= 0:
            parts += [_if_equal(number, 0, 1), refuse]
    # its flags lie in memory, which a filter cannot read; the C library then uses clone
    parts += [_if_equal(_CLONE3, 0, 1), _give(_ERRNO | _ENOSYS)]
    parts += [
        _if_equal(_CLONE[column], 0, 4),
        _load(_ARGUMENTS),
        _statement(0x45, _NAMESPACE_FLAGS, 0, 1),
        refuse,
        _give(_ALLOW),
    ]
    if alone:
        families = (_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK)
        parts += [_if_equal(_SOCKET[column], 0, len(families) + 3), _load(_ARGUMENTS)]
        # a virtual machine's line to its host (AF_VSOCK) belongs to no network namespace
        for left, family in zip(range(len(families), 0, -1), families, strict=True):
            parts.append(_if_equal(family, left, 0))
        parts += [refuse, _give(_ALLOW)]
    else:
        # a datagram socket of a socketpair would reach any address
        parts += [
            _if_equal(_SENDTO[column], 0, 6),
            _load(_ARGUMENTS + 4 * 8),
            _if_equal(0, 0, 2),
            _load(_ARGUMENTS + 4 * 8 + 4),
            _if_equal(0, 1, 0),
            refuse,
            _give(_ALLOW),
        ]
    parts.append(_give(_ALLOW))
    return b"".join(parts)


def install(*, alone: bool) -> None:
    """Filters this process and what it starts. OSError, KeyError where it cannot be."""
    code = program(os.uname().machine, alone=alone)
    buffer = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    told = Program(len(code) // 8, ctypes.addressof(buffer))
    calls.prctl(_PR_SET_SECCOMP, _SET_MODE_FILTER, ctypes.addressof(told))

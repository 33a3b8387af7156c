"""What a cubin and the log of ptxas say: the arch it holds, the resources of its kernels."""

from __future__ import annotations

import re

from mkgen.errors import WrongArchError
from mkgen.program import Program, Resources
from mkgen_simt.elf import EM_CUDA, Elf, read_elf

# ELF ABI 8 (CUDA 13) moved the sm number up by a byte; before it, bit 11 told sm_90a from sm_90.
# LLVM's BinaryFormat/ELF.h names both layouts.
_ABI_SHIFTED = 8
_ACCELERATED_BEFORE_8 = 0x800

_ARCH = re.compile(r"sm_(\d+)([af]?)")
_NOTE_ARCH = re.compile(rb"-arch[ =]+(sm_\d+[af]?)")
_ENTRY = re.compile(r"Compiling entry function '([^']+)' for '([^']+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


def check_cubin(data: bytes, arch: str) -> str:
    """How `data` was seen to hold code for `arch`; WrongArchError when it holds anything else."""
    try:
        elf = read_elf(data)
    except ValueError as error:
        raise WrongArchError(f"the cubin for {arch} is {error}") from error
    if elf.machine != EM_CUDA:
        raise WrongArchError(
            f"the cubin for {arch} has ELF machine {elf.machine}, not EM_CUDA (190): the compiler "
            "wrote code for another kind of processor"
        )
    number, how = _number(elf)
    suffix, where = _suffix(elf)
    if f"sm_{number}{suffix}" != arch:
        raise WrongArchError(
            f"asked for {arch}, got a cubin for sm_{number}{suffix} (e_flags {elf.flags:#x}): "
            "the compiler ignored --gpu-architecture; install one that knows this arch"
        )
    return f"ELF EM_CUDA, e_flags {elf.flags:#x} ({how} {number}), {where}: {arch}"


def _number(elf: Elf) -> tuple[int, str]:
    if elf.abi_version >= _ABI_SHIFTED:
        return elf.flags >> 8 & 0xFF, "sm in bits 8-15:"
    return elf.flags & 0xFF, "sm in bits 0-7:"


def _suffix(elf: Elf) -> tuple[str, str]:
    """`a` of sm_90a: e_flags are those of sm_90 in ABI 8, so ptxas's own note has to say it."""
    note = _NOTE_ARCH.search(elf.sections.get(".note.nv.tkinfo", b""))
    if note:
        match = _ARCH.fullmatch(note.group(1).decode())
        return (match.group(2) if match else ""), f".note.nv.tkinfo -arch {note.group(1).decode()}"
    if elf.abi_version < _ABI_SHIFTED:
        accelerated = bool(elf.flags & _ACCELERATED_BEFORE_8)
        return ("a" if accelerated else ""), f"bit 11 {'set' if accelerated else 'clear'}"
    return "", "no .note.nv.tkinfo"


def ptxas_resources(log: str) -> dict[str, Resources]:
    """Registers, spills, stack and static shared memory by kernel, from the log of `ptxas -v`."""
    found: dict[str, Resources] = {}
    for part in log.split("ptxas info    : Compiling entry function ")[1:]:
        entry = _ENTRY.search("Compiling entry function " + part)
        used = _USED.search(part)
        if entry is None or used is None:
            continue
        stack = _STACK.search(part)
        shared = _SHARED.search(part)
        found[entry.group(1)] = Resources(
            registers=int(used.group(1)),
            spill_bytes=int(stack.group(2)) if stack else None,
            stack_bytes=int(stack.group(1)) if stack else None,
            shared_bytes=int(shared.group(1)) if shared else 0,
        )
    return found


def with_launches(
    program: Program, static: dict[str, Resources], code: dict[str, int]
) -> dict[str, Resources]:
    """`static`, plus the most dynamic shared memory any launch asks for, and code sizes."""
    dynamic: dict[str, int] = {}
    for launch in program.launches:
        size = getattr(launch.configuration, "dynamic_shared", 0)
        dynamic[launch.entry] = max(size, dynamic.get(launch.entry, 0))
    return {
        entry: r.model_copy(
            update={
                "shared_bytes": (r.shared_bytes or 0) + dynamic.get(entry, 0),
                "static_shared_bytes": r.shared_bytes or 0,
                "code_bytes": code.get(entry),
            }
        )
        for entry, r in static.items()
    }

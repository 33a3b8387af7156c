"""The AMD archs: their number in an ELF header and in ROCm's device library."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mkgen.errors import WrongArchError
from mkgen_simt.elf import EM_AMDGPU, read_elf


@dataclass(frozen=True)
class AmdArch:
    """One gfx arch."""

    mach: int
    """EF_AMDGPU_MACH in e_flags (LLVM's AMDGPU user guide, "AMDGPU ELF Header")."""
    title: str
    profile: str

    wave: int


AMD_ARCHS = {
    "gfx906": AmdArch(0x2F, "Vega 20 (MI50)", "mi250x", 64),
    "gfx90a": AmdArch(0x3F, "CDNA 2 (MI250X)", "mi250x", 64),
    "gfx942": AmdArch(0x4C, "CDNA 3 (MI300X)", "mi300x", 64),
    "gfx950": AmdArch(0x4F, "CDNA 4 (MI355X)", "mi355x", 64),
    "gfx1030": AmdArch(0x36, "RDNA 2 (RX 6900 XT)", "rx7900xtx", 32),
    "gfx1100": AmdArch(0x41, "RDNA 3 (RX 7900 XTX)", "rx7900xtx", 32),
    "gfx1201": AmdArch(0x4E, "RDNA 4 (RX 9070 XT)", "rx9070xt", 32),
}

_MACH_MASK = 0xFF


def isa_version(arch: str) -> int:
    """`__oclc_ISA_version` of `arch`: 9010 for gfx90a, 11000 for gfx1100."""
    match = re.fullmatch(r"gfx(\d+)([0-9a-f])([0-9a-f])", arch)
    if match is None:
        raise ValueError(f"{arch!r} is no gfx arch")
    major, minor, step = int(match.group(1)), int(match.group(2), 16), int(match.group(3), 16)
    return major * 1000 + minor * 100 + step


def check_code_object(data: bytes, arch: str) -> str:
    """How `data` was seen to hold code for `arch`; WrongArchError when it holds anything else."""
    try:
        elf = read_elf(data)
    except ValueError as error:
        raise WrongArchError(f"the code object for {arch} is {error}") from error
    if elf.machine != EM_AMDGPU:
        raise WrongArchError(
            f"the code object for {arch} has ELF machine {elf.machine}, not EM_AMDGPU (224): the "
            "compiler wrote code for another kind of processor"
        )
    mach = elf.flags & _MACH_MASK
    if mach != AMD_ARCHS[arch].mach:
        known = {a.mach: name for name, a in AMD_ARCHS.items()}
        raise WrongArchError(
            f"asked for {arch}, got a code object for {known.get(mach, 'another arch')} "
            f"(EF_AMDGPU_MACH {mach:#x}): the compiler ignored --offload-arch; install one that "
            "knows this arch"
        )
    return f"ELF EM_AMDGPU, e_flags EF_AMDGPU_MACH {mach:#x} ({arch})"

"""The archs Triton compiles for, and how a binary is seen to hold one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mkgen.codegen.backend import Arch
from mkgen.errors import UserError, WrongArchError, nearest

EM_CUDA = 190
EM_AMDGPU = 224
#: e_ident[EI_ABIVERSION] from which a cubin keeps its SM number in bits 8..15 of e_flags (CUDA 13).
CUBIN_ABI_SM_SHIFTED = 8


@dataclass(frozen=True)
class TritonArch:
    """One arch as Triton's `GPUTarget` names it, and as an ELF header does."""

    arch: Arch
    system: Literal["cuda", "hip"]
    gpu: int | str
    """Second argument of GPUTarget: 90, or `gfx942`."""
    elf_code: int
    """SM number, or EF_AMDGPU_MACH (LLVM's AMDGPUUsage, table "ELF header e_flags")."""


def _cuda(number: int, title: str, profile: str) -> TritonArch:
    return TritonArch(Arch(f"sm_{number}", title, 32, profile), "cuda", number, number)


def _hip(name: str, title: str, wave: int, profile: str, mach: int) -> TritonArch:
    return TritonArch(Arch(name, title, wave, profile), "hip", name, mach)


_ALL = (
    _cuda(80, "Ampere (A100)", "a100"),
    _cuda(89, "Ada (RTX 4090)", "rtx4090"),
    _cuda(90, "Hopper (H100, H200)", "h100"),
    _cuda(100, "Blackwell (B200)", "b200"),
    _cuda(120, "Blackwell (RTX 50)", "rtx4090"),
    _hip("gfx90a", "CDNA 2 (MI250X)", 64, "mi250x", 0x3F),
    _hip("gfx942", "CDNA 3 (MI300X)", 64, "mi300x", 0x4C),
    _hip("gfx950", "CDNA 4 (MI355X)", 64, "mi355x", 0x4F),
    _hip("gfx1100", "RDNA 3 (RX 7900 XTX)", 32, "rx7900xtx", 0x41),
    _hip("gfx1201", "RDNA 4 (RX 9070 XT)", 32, "rx9070xt", 0x4E),
)

ARCHS: dict[str, TritonArch] = {a.arch.name: a for a in _ALL}


def find_arch(name: str) -> TritonArch:
    """The arch called `name`; UserError with the nearest known one."""
    if name not in ARCHS:
        raise UserError(f"the triton backend has no arch {name!r}.{nearest(name, ARCHS)}")
    return ARCHS[name]


def check_binary(binary: bytes, arch: TritonArch) -> str:
    """How `binary` was seen to hold code for `arch`. WrongArchError when it does not.

    Reads the ELF64 header: e_machine at byte 18, e_flags at 48.
    """
    if len(binary) < 64 or binary[:4] != b"\x7fELF":
        raise WrongArchError(f"Triton's output for {arch.arch.name} is not an ELF file")
    machine = int.from_bytes(binary[18:20], "little")
    flags = int.from_bytes(binary[48:52], "little")
    if arch.system == "cuda":
        wanted, kind = EM_CUDA, "SM"
        code = (flags >> 8) & 0xFF if binary[8] >= CUBIN_ABI_SM_SHIFTED else flags & 0xFF
        shown = str(code)
    else:
        wanted, kind = EM_AMDGPU, "EF_AMDGPU_MACH"
        code = flags & 0xFF
        shown = f"{code:#04x}"
    if machine != wanted or code != arch.elf_code:
        raise WrongArchError(
            f"Triton was asked for {arch.arch.name} and gave an ELF file with e_machine {machine} "
            f"and {kind} {shown}; clear Triton's cache or reinstall triton"
        )
    return f"ELF e_machine {machine}, e_flags {flags:#010x}: {kind} {shown} ({arch.arch.name})"

"""The archs of the Pallas backend, and how an executable is seen to hold one of them.

libtpu's serialized executables are a header and several messages in protobuf's wire format, each
preceded by its length. The second message holds the program; its field 12 says for which chip:
field 1 a generation number, field 2 a variant (`lite` for v5e). Google does not document this;
read off libtpu 0.0.42 for the five chips below, whose stamps all differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mkgen.codegen.backend import Arch
from mkgen.errors import UserError, WrongArchError, nearest

PROGRAM_MESSAGE = 1
CHIP_FIELD = 12
EM_CUDA = 190


@dataclass(frozen=True)
class PallasArch:
    """One arch: a TPU generation, or an NVIDIA GPU reached through Pallas' Triton lowering."""

    arch: Arch
    topology: str = ""
    """The smallest topology libtpu knows for the chip; empty for a GPU."""
    device_kind: str = ""
    """What `jax.devices()[0].device_kind` says."""
    stamp: tuple[int, str] = (0, "")
    """Generation number and variant in a serialized executable."""

    @property
    def is_tpu(self) -> bool:
        """Whether libtpu compiles for it."""
        return bool(self.topology)


def _tpu(
    name: str, title: str, profile: str, topology: str, kind: str, stamp: tuple[int, str]
) -> PallasArch:
    return PallasArch(Arch(name, title, 128, profile), topology, kind, stamp)


_ALL = (
    _tpu("v4", "TPU v4", "tpu-v4", "v4:2x2x1", "TPU v4", (3, "")),
    _tpu("v5e", "TPU v5e", "tpu-v5e", "v5e:2x2", "TPU v5 lite", (4, "lite")),
    _tpu("v5p", "TPU v5p", "tpu-v5p", "v5p:2x2x1", "TPU v5", (4, "")),
    _tpu("v6e", "TPU v6e (Trillium)", "tpu-v6e", "v6e:2x2", "TPU v6 lite", (5, "")),
    _tpu("tpu7x", "TPU7x (Ironwood)", "tpu7x", "tpu7x:2x2x1", "TPU7x", (6, "")),
    PallasArch(
        Arch("sm_90", "Hopper (H100, H200), by Pallas' Triton lowering", 32, "h100", proxy=True)
    ),
)

ARCHS: dict[str, PallasArch] = {a.arch.name: a for a in _ALL}


def find_arch(name: str) -> PallasArch:
    """The arch called `name`; UserError with the nearest known one."""
    if name not in ARCHS:
        raise UserError(f"the pallas backend has no arch {name!r}.{nearest(name, ARCHS)}")
    return ARCHS[name]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _messages(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        length, at = _varint(data, at)
        yield data[at : at + length]
        at += length


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a message on protobuf's wire."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        length = {1: 8, 5: 4}.get(wire)
        if length is None:
            if wire != 2:
                raise ValueError(f"wire type {wire}")
            length, at = _varint(message, at)
        yield number, message[at : at + length]
        at += length


def machine_code(executable: bytes) -> bytes:
    """The program in libtpu's serialized `executable`: TPU machine code and its chip stamp.

    The messages around it hold the HLO with a module number that counts the compilations of the
    process; the program is the same bytes each time. ValueError when there is none.
    """
    try:
        return list(_messages(executable))[PROGRAM_MESSAGE]
    except IndexError as error:
        raise ValueError("no program message where libtpu 0.0.42 has it") from error


def read_stamp(program: bytes) -> tuple[int, str]:
    """Generation and variant in libtpu's `machine_code`; ValueError when it has none."""
    try:
        chips = [v for n, v in _fields(program) if n == CHIP_FIELD and isinstance(v, bytes)]
        chip = dict(_fields(chips[0]))
        generation, variant = chip[1], chip.get(2, b"")
    except (IndexError, KeyError) as error:
        raise ValueError("no chip stamp where libtpu 0.0.42 has it") from error
    if not isinstance(generation, int) or not isinstance(variant, bytes):
        raise ValueError("the chip stamp is not a number and a name")
    return generation, variant.decode()


def check_program(program: bytes, arch: PallasArch) -> str:
    """How `program` was seen to be for `arch`. WrongArchError when it is not, or cannot be read."""
    try:
        stamp = read_stamp(program)
    except ValueError as error:
        raise WrongArchError(
            f"libtpu's program for {arch.arch.name} does not say its chip ({error}); "
            "install libtpu 0.0.42, whose format is known"
        ) from error
    if stamp != arch.stamp:
        raise WrongArchError(f"libtpu was asked for {arch.arch.name} and stamped chip {stamp}")
    generation, variant = stamp
    return (
        f"libtpu's chip stamp {generation}{' ' + variant if variant else ''} ({arch.arch.name}), "
        f"compiled for {arch.device_kind}"
    )


def gpu_binaries(executable: bytes) -> list[bytes]:
    """Every ELF file for an NVIDIA GPU inside `executable` (XLA embeds cubins whole)."""
    found = []
    at = executable.find(b"\x7fELF")
    while at >= 0:
        header = executable[at : at + 64]
        if len(header) == 64 and int.from_bytes(header[18:20], "little") == EM_CUDA:
            sections = int.from_bytes(header[40:48], "little")
            entry = int.from_bytes(header[58:60], "little")
            count = int.from_bytes(header[60:62], "little")
            programs = int.from_bytes(header[32:40], "little")
            size = int.from_bytes(header[54:56], "little") * int.from_bytes(header[56:58], "little")
            found.append(executable[at : at + max(sections + entry * count, programs + size)])
        at = executable.find(b"\x7fELF", at + 4)
    return found


def cubin_sm(cubin: bytes) -> int:
    """SM number in a cubin's e_flags: bits 8..15 from ABI version 8 (CUDA 13), else 0..7."""
    flags = int.from_bytes(cubin[48:52], "little")
    return (flags >> 8) & 0xFF if cubin[8] >= 8 else flags & 0xFF

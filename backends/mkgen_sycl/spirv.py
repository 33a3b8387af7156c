"""What a SPIR-V module says of itself: version, kernels, and the local memory each one takes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from mkgen.errors import WrongArchError

MAGIC = 0x07230203

# Opcodes and enumerants of the SPIR-V specification, section 3.
_ENTRY_POINT = 15
_TYPE_BOOL, _TYPE_INT, _TYPE_FLOAT, _TYPE_VECTOR = 20, 21, 22, 23
_TYPE_ARRAY, _TYPE_STRUCT, _TYPE_POINTER = 28, 30, 32
_CONSTANT, _VARIABLE = 43, 59
_KERNEL_MODEL = 6
_WORKGROUP_STORAGE = 4
_POINTER_BYTES = 8


@dataclass
class Module:
    """The parts of a SPIR-V module that mkgen checks."""

    version: str
    local_bytes: dict[str, int]
    """Work-group local memory by kernel entry name, in bytes."""


@dataclass
class _Reader:
    """Tables filled on the way through the instructions."""

    types: dict[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    constants: dict[int, int] = field(default_factory=dict)
    local: dict[int, int] = field(default_factory=dict)
    kernels: dict[str, tuple[int, ...]] = field(default_factory=dict)


def parse(data: bytes) -> Module:
    """Reads `data`. WrongArchError when it is not a SPIR-V module."""
    if len(data) < 20 or len(data) % 4:
        raise WrongArchError(f"{len(data)} bytes are no SPIR-V module")
    words = struct.unpack(f"<{len(data) // 4}I", data)
    if words[0] != MAGIC:
        raise WrongArchError(f"no SPIR-V: the first word is {words[0]:#010x}, not {MAGIC:#010x}")
    version = (words[1] >> 16 & 0xFF, words[1] >> 8 & 0xFF)
    reader = _Reader()
    for opcode, operands in _instructions(words):
        _read(reader, opcode, operands)
    # Since 1.4 an entry point lists every global it uses; before, a kernel may use any of them.
    sizes = {
        name: sum(
            _size(reader, type_id)
            for variable, type_id in reader.local.items()
            if version < (1, 4) or variable in interface
        )
        for name, interface in reader.kernels.items()
    }
    return Module(f"{version[0]}.{version[1]}", sizes)


def _instructions(words: tuple[int, ...]) -> Iterator[tuple[int, tuple[int, ...]]]:
    at = 5
    while at < len(words):
        length, opcode = words[at] >> 16, words[at] & 0xFFFF
        if length == 0 or at + length > len(words):
            raise WrongArchError(f"no SPIR-V: the instruction at word {at} runs past the end")
        yield opcode, words[at + 1 : at + length]
        at += length


def _read(reader: _Reader, opcode: int, operands: tuple[int, ...]) -> None:
    if opcode == _ENTRY_POINT and operands[0] == _KERNEL_MODEL:
        name, used = _string(operands[2:])
        reader.kernels[name] = operands[2 + used :]
    elif _TYPE_BOOL <= opcode <= _TYPE_POINTER:
        reader.types[operands[0]] = (opcode, operands[1:])
    elif opcode == _CONSTANT:
        low, *high = operands[2:]
        reader.constants[operands[1]] = low | (high[0] << 32 if high else 0)
    elif opcode == _VARIABLE and operands[2] == _WORKGROUP_STORAGE:
        reader.local[operands[1]] = reader.types[operands[0]][1][1]


def _string(words: tuple[int, ...]) -> tuple[str, int]:
    """A literal string and the number of words it takes."""
    data = struct.pack(f"<{len(words)}I", *words)
    text = data[: data.index(b"\0")]
    return text.decode(), len(text) // 4 + 1


def _size(reader: _Reader, type_id: int) -> int:
    return _layout(reader, type_id)[0]


def _layout(reader: _Reader, type_id: int) -> tuple[int, int]:
    """Size and alignment of a type under the OpenCL environment's rules, in bytes."""
    opcode, operands = reader.types[type_id]
    if opcode == _TYPE_BOOL:
        return 1, 1
    if opcode in (_TYPE_INT, _TYPE_FLOAT):
        return operands[0] // 8, operands[0] // 8
    if opcode == _TYPE_POINTER:
        return _POINTER_BYTES, _POINTER_BYTES
    if opcode == _TYPE_VECTOR:
        # A vector of three is stored as one of four.
        size = _size(reader, operands[0]) * (4 if operands[1] == 3 else operands[1])
        return size, size
    if opcode == _TYPE_ARRAY:
        size, alignment = _layout(reader, operands[0])
        return size * reader.constants[operands[1]], alignment
    if opcode == _TYPE_STRUCT:
        total, widest = 0, 1
        for member in operands:
            size, alignment = _layout(reader, member)
            total = -(-total // alignment) * alignment + size
            widest = max(widest, alignment)
        return -(-total // widest) * widest, widest
    raise WrongArchError(f"a local variable has a type without size (SPIR-V opcode {opcode})")

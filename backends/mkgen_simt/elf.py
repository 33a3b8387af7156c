"""The few ELF64 facts that tell for which machine a file was made, and what lies where in it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

EM_CUDA = 190
EM_AMDGPU = 224

_SHT_SYMTAB = 2
#: The second is GNU's, for variables of templates.
_STT_OBJECTS = (1, 10)
_STT_FUNC = 2


@dataclass(frozen=True)
class Elf:
    """Header fields and sections of one ELF64 little-endian file."""

    machine: int
    flags: int
    abi_version: int
    sections: dict[str, bytes]
    """Contents by name; sections without contents in the file are left out."""
    functions: dict[str, int]
    """Bytes of code by function symbol."""
    variables: dict[str, tuple[str, int, int]]
    """By symbol: section, offset there and size."""


def read_elf(data: bytes) -> Elf:
    """Reads `data`; ValueError says what keeps it from being an ELF64 file."""
    if data[:4] != b"\x7fELF":
        raise ValueError(f"not an ELF file: it begins with {data[:4]!r}")
    if data[4:6] != b"\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    try:
        return _read(data)
    except (struct.error, IndexError) as error:
        raise ValueError(f"a truncated or damaged ELF file: {error}") from error


def _read(data: bytes) -> Elf:
    (machine,) = struct.unpack_from("<H", data, 18)
    (table,) = struct.unpack_from("<Q", data, 40)
    (flags,) = struct.unpack_from("<I", data, 48)
    size, count, names_index = struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * size) for i in range(count)]
    names = _contents(data, headers[names_index]) if headers else b""
    sections = {_text(names, h[0]): _contents(data, h) for h in headers}
    functions: dict[str, int] = {}
    variables: dict[str, tuple[str, int, int]] = {}
    places = [(_text(names, h[0]), h[3]) for h in headers]
    for header in headers:
        if header[1] == _SHT_SYMTAB or _text(names, header[0]) == ".dynsym":
            strings = _contents(data, headers[header[6]])
            table_of = _contents(data, header)
            functions |= _functions(table_of, strings)
            variables |= _variables(table_of, strings, places)
    filled = {k: v for k, v in sections.items() if v}
    return Elf(machine, flags, data[8], filled, functions, variables)


def _contents(data: bytes, header: tuple[int, ...]) -> bytes:
    sht_nobits = 8
    return b"" if header[1] == sht_nobits else data[header[4] : header[4] + header[5]]


def _functions(table: bytes, strings: bytes) -> dict[str, int]:
    symbols = struct.iter_unpack("<IBBHQQ", table)
    return {_text(strings, s[0]): s[5] for s in symbols if s[1] & 0xF == _STT_FUNC}


def _variables(
    table: bytes, strings: bytes, places: list[tuple[str, int]]
) -> dict[str, tuple[str, int, int]]:
    found: dict[str, tuple[str, int, int]] = {}
    for name, info, _, index, value, size in struct.iter_unpack("<IBBHQQ", table):
        if info & 0xF in _STT_OBJECTS and 0 < index < len(places):
            section, address = places[index]
            found[_text(strings, name)] = (section, value - address, size)
    return found


def _text(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode()

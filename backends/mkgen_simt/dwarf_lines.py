"""From addresses of a program built here to lines of its source: the DWARF line table."""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_COPY, _ADVANCE_PC, _ADVANCE_LINE, _SET_FILE = 1, 2, 3, 4
_CONST_ADD_PC, _FIXED_ADVANCE_PC = 8, 9
_EXTENDED, _END_SEQUENCE, _SET_ADDRESS = 0, 1, 2
_OLD_VERSIONS = (2, 3, 4)
_FORM_STRING, _FORM_LINE_STRP, _FORM_STRP, _FORM_UDATA, _FORM_DATA16 = 0x08, 0x1F, 0x0E, 0x0F, 0x1E
_FORM_SIZES = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8}
_CONTENT_PATH = 1

#: Where a range of addresses begins, and the line it is of; 0 for code of another file.
Row = tuple[int, int]


@dataclass
class Lines:
    """The rows of one source file, by address."""

    rows: list[Row]

    def line(self, address: int) -> int:
        """The line of the code at `address`; 0 where it is not of the file."""
        place = bisect.bisect_right(self.rows, (address, 1 << 62)) - 1
        return self.rows[place][1] if place >= 0 else 0


def read_lines(sections: dict[str, bytes], name: str) -> Lines:
    """The rows of the file called `name`, whatever its directory. ValueError for a damaged table.

    Sections by name, of a linked file: `.debug_line`, and `.debug_line_str` in DWARF 5.
    """
    table = sections.get(".debug_line", b"")
    rows: list[Row] = []
    try:
        at = 0
        while at < len(table):
            (length,) = struct.unpack_from("<I", table, at)
            unit = _Unit(table[at + 4 : at + 4 + length], sections)
            rows.extend(unit.rows(name))
            at += 4 + length
    except (struct.error, IndexError, ValueError) as error:
        raise ValueError(f"a damaged line table: {error}") from error
    return Lines(_merged(rows))


def _merged(rows: list[Row]) -> list[Row]:
    """By address, the last of those at one address, without repetitions."""
    merged: list[Row] = []
    # the end of a sequence gives way to whatever begins at the same address
    for address, line in sorted(rows, key=lambda row: row[0]):
        if merged and merged[-1][0] == address:
            line = line or merged[-1][1]
            merged.pop()
        if not merged or merged[-1][1] != line:
            merged.append((address, line))
    return merged


@dataclass
class _Reader:
    data: bytes
    at: int = 0

    def number(self, code: str) -> int:
        (value,) = struct.unpack_from("<" + code, self.data, self.at)
        self.at += struct.calcsize(code)
        return int(value)

    def unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    def signed(self) -> int:
        start = self.at
        value = self.unsigned()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if self.data[self.at - 1] & 0x40 else value

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        value = self.data[self.at : end].decode(errors="replace")
        self.at = end + 1
        return value


@dataclass
class _State:
    address: int = 0
    file: int = 1
    line: int = 1


@dataclass
class _Unit:
    """One line-number program (DWARF 2 to 5, 32-bit format)."""

    data: bytes
    sections: dict[str, bytes]
    files: list[str] = field(default_factory=list)
    first_file: int = 1

    def rows(self, name: str) -> Iterator[Row]:
        """Every row, with line 0 where it is of another file than `name`."""
        reader = _Reader(self.data)
        self.version = reader.number("H")
        if self.version > 4:
            reader.at += 2  # sizes of addresses and of segment selectors
        header = reader.number("I")
        start = reader.at + header
        self.step = reader.number("B")
        if self.version > 3:
            reader.at += 1
        reader.at += 1
        self.line_base = reader.number("b")
        self.line_range = reader.number("B")
        self.opcode_base = reader.number("B")
        self.lengths = [reader.number("B") for _ in range(self.opcode_base - 1)]
        if self.version in _OLD_VERSIONS:
            self._old_names(reader)
        else:
            self.first_file = 0
            self._entries(reader)
            self.files = self._entries(reader)
        return self._run(_Reader(self.data, start), name)

    def _old_names(self, reader: _Reader) -> None:
        while reader.text():
            pass
        while path := reader.text():
            self.files.append(path)
            for _ in range(3):
                reader.unsigned()

    def _entries(self, reader: _Reader) -> list[str]:
        formats = [(reader.unsigned(), reader.unsigned()) for _ in range(reader.number("B"))]
        paths = []
        for _ in range(reader.unsigned()):
            path = ""
            for content, form in formats:
                value = self._value(reader, form)
                path = value if content == _CONTENT_PATH else path
            paths.append(path)
        return paths

    def _value(self, reader: _Reader, form: int) -> str:
        if form == _FORM_STRING:
            return reader.text()
        if form in (_FORM_LINE_STRP, _FORM_STRP):
            section = ".debug_line_str" if form == _FORM_LINE_STRP else ".debug_str"
            return _Reader(self.sections.get(section, b"\0"), reader.number("I")).text()
        if form == _FORM_UDATA:
            reader.unsigned()
        elif form == _FORM_DATA16:
            reader.at += 16
        elif form in _FORM_SIZES:
            reader.at += _FORM_SIZES[form]
        else:
            raise ValueError(f"form {form:#x}")
        return ""

    def _run(self, reader: _Reader, name: str) -> Iterator[Row]:
        of_file = [path.replace("\\", "/").rpartition("/")[2] == name for path in self.files]

        def row() -> Row:
            place = state.file - self.first_file
            inside = 0 <= place < len(of_file) and of_file[place]
            return state.address, state.line if inside else 0

        state = _State()
        while reader.at < len(self.data):
            code = reader.number("B")
            if code >= self.opcode_base:
                code -= self.opcode_base
                state.address += code // self.line_range * self.step
                state.line += self.line_base + code % self.line_range
                yield row()
            elif code == _EXTENDED:
                end = reader.unsigned() + reader.at
                kind = reader.number("B")
                if kind == _SET_ADDRESS:
                    state.address = reader.number("Q")
                elif kind == _END_SEQUENCE:
                    yield state.address, 0
                    state = _State()
                reader.at = end
            elif code == _COPY:
                yield row()
            else:
                self._standard(code, reader, state)

    def _standard(self, code: int, reader: _Reader, state: _State) -> None:
        if code == _ADVANCE_PC:
            state.address += reader.unsigned() * self.step
        elif code == _ADVANCE_LINE:
            state.line += reader.signed()
        elif code == _SET_FILE:
            state.file = reader.unsigned()
        elif code == _CONST_ADD_PC:
            state.address += (255 - self.opcode_base) // self.line_range * self.step
        elif code == _FIXED_ADVANCE_PC:
            state.address += reader.number("H")
        else:
            for _ in range(self.lengths[code - 1]):
                reader.unsigned()

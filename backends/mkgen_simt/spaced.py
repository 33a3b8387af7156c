"""A text built for a sanitizer: its lines kept, gaps between its `__shared__` variables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mkgen.document import content_hash
from mkgen.program import Source
from mkgen_simt.build import (
    Compiler,
    binary_hash,
    compile_and_link,
    headers_hash,
    host_text,
    kept,
    run_compiler,
)
from mkgen_simt.dwarf_lines import Lines, read_lines
from mkgen_simt.elf import read_elf

#: No inlining: a line of the text is then in the table for every access that it makes.
FLAGS = (
    "-std=c++17", "-O1", "-g1", "-gdwarf-4", "-w", "-fPIC", "-fvisibility=hidden", "-fno-inline",
    "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-fno-unroll-loops",
    "-ffp-contract=off", "-fno-math-errno", "-fno-exceptions", "-fno-rtti",
)  # fmt: skip
SECTION = "mkgen_shared"
#: Bytes behind every shared variable: an index that is off by a few dozen still falls into them.
GAP = 256

_IN_SECTION = re.compile(r"^\s*\.(?:section\s+(\S+?)(?:,.*)?|text|data|bss|popsection)\s*$")
#: g++ forgets the section of a template's variables; nothing else of a kernel text lies there.
_LOST = re.compile(r"^\s*\.section\s+\.bss\.(_ZZ\w+),")
_LABEL = re.compile(r"^[A-Za-z_.$][\w.$]*:")
_FILL = re.compile(r"^\s*\.(?:zero|skip|space)\s+\d+")
_UNROLL = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+(?:GCC[ \t]+)?unroll\b.*$", re.MULTILINE)
_NAME = re.compile(r"\d+")
_DISCRIMINATOR = re.compile(r"(?:B\d+\w+?)?(?:_\d*|__\d+_)?(?:\.\d+)?")


def spaced(assembly: str) -> str:
    """`assembly` with GAP bytes behind every variable of shared memory, all in one section."""
    lines: list[str] = []
    inside = label = False
    for line in assembly.split("\n"):
        lost = _LOST.match(line)
        if lost and "mkgen_simt" not in lost[1]:
            line = f'\t.section\t{SECTION},"aw"'
        lines.append(line)
        section = _IN_SECTION.match(line)
        if section:
            inside = section[1] == SECTION
        elif inside and label and _FILL.match(line):
            lines.append(f"\t.zero\t{GAP}")
        label = bool(_LABEL.match(line))
    return "\n".join(lines)


def plain_name(symbol: str) -> str:
    """The name in the source of the variable behind a mangled `symbol`: `s` of `_ZZ1kE1s`."""
    for number in _NAME.finditer(symbol):
        # digits of a length may follow digits of a name: try every cut
        for start in range(number.start(), number.end()):
            length = int(symbol[start : number.end()])
            name = symbol[number.end() : number.end() + length]
            rest = symbol[number.end() + length :]
            if len(name) == length and _DISCRIMINATOR.fullmatch(rest):
                return name
    return symbol.partition(".")[0]


@dataclass(frozen=True)
class Built:
    """What is known of a built text."""

    lines: Lines
    shared: tuple[tuple[str, int, int], ...]
    """Name, offset in the section and bytes of every `__shared__` variable."""


def read_built(binary: Path, name: str) -> Built:
    """Reads the file that `build_spaced` gave; `name` is that of its text."""
    elf = read_elf(binary.read_bytes())
    shared = sorted(
        (offset, size, plain_name(symbol))
        for symbol, (section, offset, size) in elf.variables.items()
        if section == SECTION and size and "mkgen_simt" not in symbol
    )
    return Built(read_lines(elf.sections, name), tuple((n, o, s) for o, s, n in shared))


def build_spaced(
    compiler: Compiler,
    source: Source,
    launcher: str,
    flags: Sequence[str],
    link: Sequence[str],
    *,
    main: bool = False,
) -> Path:
    """`source` compiled by `flags` and linked by `link`; kept in the cache.

    `main`: as a program of its own. CompileError with the compiler's log.
    """
    # unrolled and instrumented, a kernel of a few hundred lines takes half a minute to compile
    text = _UNROLL.sub("", host_text(source))
    entry = f'#include "{source.name}"\nMKGEN_SIMT_ENTRY({launcher})\n'
    entry += '#include "mkgen_simt_main.hpp"\n' if main else ""
    identity = (binary_hash(compiler.binary), compiler.title, Path(__file__).read_text())
    key = content_hash(text, source.name, entry, headers_hash(), *identity, *flags, *link)

    def make(scratch: Path) -> None:
        (scratch / source.name).write_text(text)
        (scratch / "entry.cpp").write_text(entry)
        run_compiler(compiler, [*flags, "-S", "entry.cpp", "-o", "entry.s"], source.name, scratch)
        assembly = scratch / "entry.s"
        # strings of the text are bytes in it, of whatever encoding
        assembly.write_bytes(spaced(assembly.read_bytes().decode("latin-1")).encode("latin-1"))
        objects = (["-c", "entry.s", "-o", "entry.o"],)
        compile_and_link(compiler, objects, link, source.name, scratch)
        assembly.unlink()

    return kept(key, make)

"""The head of a native kernel file: a comment of TOML that says how its kernels are launched.

A file for a C dialect begins with `/* mkgen` … `*/`, one for a Python dialect with `# mkgen` and
the lines of comment that follow. What it may say is `Head`; expressions are those of
`mkgen.expression`, parsed and never run. Nothing here imports or runs the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field, StrictBool, StrictInt, StringConstraints, ValidationError

from mkgen.document import Document, content_hash
from mkgen.errors import UserError, nearest
from mkgen.expression import Call, Expression, Int, parse, walk
from mkgen.program import Dtype
from mkgen.reading import toml_document

#: A kernel that a person, or a model, has written is far below either.
MAX_FILE_BYTES = 1 << 20
MAX_HEAD_BYTES = 1 << 13

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
Text = Annotated[str, StringConstraints(max_length=400)]
Extent = StrictInt | Text
"""An integer, or an expression over the task's sizes."""
#: What every dialect can print of an expression's functions.
_FUNCTIONS = frozenset(("ceil_div", "min", "max", "select", "not"))

C_START = "/* mkgen"
PYTHON_START = "# mkgen"


class TemporaryBuffer(Document):
    """A buffer between kernels, in the device's memory; nothing is known of its content."""

    name: Identifier
    dtype: Dtype
    shape: Annotated[tuple[Extent, ...], Field(max_length=8)]


class HeadLaunch(Document):
    """One launch; expressions are over the task's sizes."""

    entry: Identifier
    """The kernel's name in the text."""
    args: Annotated[tuple[Identifier, ...], Field(min_length=1, max_length=64)]
    """Buffers in the kernel's order: inputs and parameters of the task, outputs, temporaries."""
    grid: Annotated[tuple[Extent, ...], Field(min_length=1, max_length=3)]
    """Blocks (work-groups, programs) along x, y, z."""
    block: Annotated[tuple[Extent, ...], Field(min_length=1, max_length=3)] | None = None
    """C dialects: threads (work-items) of a block along x, y, z."""
    shared: Extent = 0
    """C dialects: bytes of dynamic shared memory of a block."""
    sub_group: Annotated[StrictInt, Field(ge=1, le=1024)] | None = None
    """C dialects: lanes that the text relies on; none where it relies on no width."""
    warps: Extent | None = None
    """Block dialects: warps of a program; 4 where it is not said."""
    stages: Extent | None = None
    """Block dialects: stages of the software pipeline; 2 where it is not said."""
    constexprs: Annotated[dict[Identifier, StrictBool | Extent], Field(max_length=64)] = {}
    """Block dialects: the kernel's compile-time parameters, passed by name."""


class Head(Document):
    """What the head comment of a native kernel file says."""

    task: Annotated[str, StringConstraints(max_length=200)] | None = None
    """What it computes; must agree with the task that is asked for."""
    backend: Annotated[str, StringConstraints(max_length=60)]
    entry: Identifier | None = None
    """Functional dialects: the function of the inputs that returns the outputs."""
    temporary: Annotated[tuple[TemporaryBuffer, ...], Field(max_length=64)] = ()
    launch: Annotated[tuple[HeadLaunch, ...], Field(max_length=64)] = ()
    """In order."""
    parameters: Annotated[
        dict[Identifier, Annotated[tuple[StrictInt, ...], Field(min_length=1, max_length=32)]],
        Field(max_length=64),
    ] = {}
    """Compile-time integers of the text, each with the values it may have, best first; the text
    and the expressions of the head use them by name. mkgen defines and sweeps them."""
    where: Annotated[tuple[Text, ...], Field(max_length=16)] = ()
    """Conditions over parameters and sizes; a set of parameters that breaks one is not tried."""


@dataclass(frozen=True)
class Native:
    """A native kernel file, its head read."""

    name: str
    """The file's name, for messages."""
    head: Head
    comment: str
    """The text up to the end of the head comment."""
    code: str
    """Everything after it."""
    python: bool
    """Whether the head is written in Python's comments."""
    first_line: int
    """Line of the file on which the TOML begins."""
    toml: str

    @property
    def text(self) -> str:
        """The file."""
        return self.comment + self.code

    @property
    def code_line(self) -> int:
        """Line of the file on which `code` begins."""
        return self.comment.count("\n") + 1

    @property
    def sha(self) -> str:
        """Hash of the file: its head decides more than the text that is compiled shows."""
        return content_hash(self.text)

    def error(self, place: tuple[str | int, ...], reason: str) -> UserError:
        """UserError at `place`, the path of a key of the head: ("launch", 0, "grid")."""
        line = self.first_line + _line_of(self.toml, place)
        return UserError(f"{self.name}, line {line}: {_spell(place)}{reason}")

    def expression(self, value: StrictInt | str, *place: str | int) -> Expression:
        """`value`, which stands at `place`, parsed. UserError."""
        if not isinstance(value, str):
            return Int(int(value))
        try:
            parsed = parse(value)
            unknown = {
                node.function
                for node in walk(parsed)
                if isinstance(node, Call) and node.function not in _FUNCTIONS
            }
        except UserError as error:
            raise self.error(place, str(error)) from error
        except (RecursionError, MemoryError) as error:
            raise self.error(place, "the expression is nested too deeply") from error
        if unknown:
            listed = ", ".join(sorted(unknown))
            raise self.error(place, f"{listed} cannot be used in a launch, which C must print too")
        return parsed


def holds_native(text: str) -> bool:
    """Whether `text` begins as a native kernel file does."""
    return _begin(text.splitlines()[:200]) is not None


def read_native(path: Path) -> Native:
    """The native kernel file `path`. UserError names the file, line, key and remedy."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UserError(f"{path}: {size} bytes; a kernel file has at most {MAX_FILE_BYTES}")
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    return parse_native(text, path.name)


def parse_native(text: str, name: str) -> Native:
    """The native kernel file with this text. UserError names the line, key and remedy."""
    if len(text) > MAX_FILE_BYTES:
        raise UserError(f"{name}: a kernel file has at most {MAX_FILE_BYTES} bytes")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise UserError(f"{name}, line {line}: a NUL character; it is no text")
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    comment, toml, first_line, python = _split(text, name)
    if len(toml.encode()) > MAX_HEAD_BYTES:
        raise UserError(
            f"{name}, line {first_line}: the head comment has {len(toml.encode())} bytes; at most "
            f"{MAX_HEAD_BYTES} are read"
        )
    head = _head(_toml(toml, name, first_line), toml, name, first_line)
    return Native(name, head, comment, text[len(comment) :], python, first_line, toml)


def _begin(lines: list[str]) -> tuple[int, bool] | None:
    """Index of the line that opens the head, and whether it is Python; None without one.

    Only comments of one line and blank lines may come before it.
    """
    for index, line in enumerate(lines):
        if line.rstrip() == PYTHON_START:
            return index, True
        if line.rstrip() == C_START:
            return index, False
        stripped = line.strip()
        if stripped and not stripped.startswith(("//", "#!", "# ")) and stripped != "#":
            return None
    return None


def _split(text: str, name: str) -> tuple[str, str, int, bool]:
    """The comment with what stands before it, its TOML, the TOML's first line, and its form."""
    lines = text.split("\n")
    found = _begin(lines)
    if found is None:
        raise UserError(
            f"{name}, line 1: no head that says how the kernels are launched; begin with a comment "
            f"whose first line is `{C_START}` (C dialects; it ends with */) or `{PYTHON_START}` "
            "(Python dialects), see docs/foreign-kernels.md"
        )
    start, python = found
    end = start + 1
    if python:
        while end < len(lines) and lines[end].startswith("#"):
            end += 1
        toml = [line[1:].removeprefix(" ") for line in lines[start + 1 : end]]
        comment = "".join(f"{line}\n" for line in lines[:end])
        return comment[: len(text)], "\n".join(toml), start + 2, True
    while end < len(lines) and "*/" not in lines[end]:
        end += 1
    if end == len(lines):
        raise UserError(f"{name}, line {start + 1}: the head comment is not closed; end it with */")
    if lines[end].strip() != "*/":
        raise UserError(f"{name}, line {end + 1}: the end of the head, */, stands on its own line")
    comment = "".join(f"{line}\n" for line in lines[: end + 1])
    return comment[: len(text)], "\n".join(lines[start + 1 : end]), start + 2, False


def _toml(toml: str, name: str, first_line: int) -> dict[str, Any]:
    try:
        return toml_document(toml)
    except ValueError as error:
        told = str(error)
        found = re.search(r"\(at line (\d+), column (\d+)\)", told)
        last = toml.rstrip().count("\n") if "end of document" in told else 0
        line = first_line + (int(found[1]) - 1 if found else last)
        column = f", column {found[2]}" if found else ""
        told = re.sub(r" \(at [^)]*\)", "", told)[:200]
        raise UserError(f"{name}, line {line}{column}: the head is no TOML: {told}") from error


def _head(data: dict[str, Any], toml: str, name: str, first_line: int) -> Head:
    try:
        return Head.model_validate(data)
    except ValidationError as error:
        told = []
        for fault in error.errors(include_url=False, include_context=False)[:5]:
            place = tuple(p for p in fault["loc"] if not _is_branch(p))
            line = first_line + _line_of(toml, place)
            told.append(f"{name}, line {line}: {_spell(place)}{_reason(fault, place)}")
        raise UserError("; ".join(dict.fromkeys(told))) from error
    except RecursionError as error:
        raise UserError(f"{name}, line {first_line}: the head is nested too deeply") from error


def _is_branch(part: str | int) -> bool:
    """Whether `part` of a place names a branch of a union, which nobody has written."""
    return isinstance(part, str) and (
        part in ("int", "bool", "str", "[key]") or part.startswith(("constrained-", "tuple["))
    )


def _spell(place: tuple[str | int, ...]) -> str:
    """`launch 1, grid 2: `, counted from one as people do; empty for the head itself."""
    words = ""
    for part in place:
        words += f" {part + 1}" if isinstance(part, int) else f"{', ' if words else ''}{part[:60]}"
    return f"{words}: " if words else ""


def _reason(fault: Any, place: tuple[str | int, ...]) -> str:
    kind, key = fault["type"], place[-1] if place else ""
    inner: dict[str, type[Document]] = {"launch": HeadLaunch, "temporary": TemporaryBuffer}
    model = inner.get(str(place[0]), Head) if len(place) > 2 else Head
    if kind == "extra_forbidden":
        return f"no such key.{nearest(str(key)[:60], model.model_fields)}"
    if kind == "missing":
        return "this key is needed"
    word = str(fault["input"])[:60] if isinstance(fault["input"], str) else ""
    if kind == "literal_error":
        return f"no dtype {word!r}.{nearest(word, get_args(Dtype))}"
    if kind == "string_pattern_mismatch":
        return f"{word!r} is no name: letters, digits and _ only"
    shown = repr(fault["input"])
    given = f", not {shown[:60]}" if len(shown) < 2000 else ""
    return f"{fault['msg'][0].lower()}{fault['msg'][1:]}{given}"


def _line_of(toml: str, place: tuple[str | int, ...]) -> int:
    """Lines after the first on which `place` is written; 0 where it is not found."""
    lines = toml.split("\n")
    start, end, keys = 0, len(lines), [p for p in place if isinstance(p, str)]
    named = re.escape(str(place[0])) if place else ""
    numbered = len(place) >= 2 and isinstance(place[1], int)
    header = rf"\s*\[\[\s*{named}\s*\]\]" if numbered else rf"\s*\[\s*{named}\s*\]"
    heads = [i for i, line in enumerate(lines) if named and re.match(header, line)]
    which = int(place[1]) if numbered else 0
    if which < len(heads):
        start = heads[which]
        following = (i for i in range(start + 1, len(lines)) if lines[i].lstrip()[:1] == "[")
        end = next(following, len(lines))
        keys = keys[1:]
    if not keys:
        return start
    wanted = re.compile(rf"\s*[\"']?{re.escape(keys[0])}[\"']?\s*[=.]")
    return next((i for i in range(start, end) if wanted.match(lines[i])), start)

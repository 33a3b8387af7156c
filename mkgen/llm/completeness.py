"""Whether a text is a whole file: cut off replies, and replies without fences."""

from __future__ import annotations

import re
from typing import Literal

from mkgen.errors import UserError
from mkgen.foreign.native import C_START, PYTHON_START, holds_native
from mkgen.llm.blocks import Block
from mkgen.reading import python_tree

Finish = Literal["stop", "length", "refusal", "unknown"]
#: What Python says of a text that goes on.
_PYTHON_GOES_ON = re.compile(
    r"was never closed|unterminated triple-quoted|unexpected EOF|expected an indented block|"
    r"unterminated string|incomplete input"
)
_LINE = re.compile(r", line (\d+): ")
_PYTHON_BEGINS = re.compile(
    r'^(?:import [\w.]+|from [\w.]+ import |"""|@triton|class ModelNew|def \w)', re.MULTILINE
)
#: What decides how the braces of a C text count; strings end with their line at the latest.
_C_PART = re.compile(
    r"""//[^\n]*+|/\*|R"([^ ()\\\t\n]{0,16})\(|"(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?"""
    r"""|[{}]|^[ \t]*+\#[ \t]*+el""",
    re.MULTILINE | re.DOTALL,
)
#: Paragraphs of prose behind a file without a fence that are taken off, one after another.
_PARAGRAPHS = 4


def cut_off(block: Block, finish: Finish, *, fenced: bool = True) -> str:
    """Where `block` ends too early, `the answer ends in the middle of the file: …`; else empty."""
    why = _open_end(block.text)
    unclosed = fenced and not block.closed
    if unclosed:
        # where the provider says that this was all, the fence alone may be missing
        why = "no closing fence" + (f", {why}" if why else "")
        if finish == "stop" and not _open_end(block.text) and _ends_well(block.text):
            return ""
    elif not fenced and finish == "length":
        why = why or "the provider's limit was reached"
    if not why:
        return ""
    lines = len(block.text.splitlines())
    return f"the answer ends in the middle of the file: {lines} lines, {why}"


def without_prose(text: str, *, module: bool) -> str:
    """What of `text`, which has no fences, may be a file: from its head or first import on."""
    lines = text.split("\n")
    if module:
        begin = _PYTHON_BEGINS.search(text)
        return _python_part(text[begin.start() :]) if begin else ""
    heads = (i for i, s in enumerate(lines) if s.rstrip() in (C_START, PYTHON_START))
    start = next(heads, None)
    if start is None:
        return ""
    if lines[start].rstrip() == PYTHON_START:
        return _python_part("\n".join(lines[start:]))
    ends = [i for i in range(start, len(lines)) if lines[i].startswith("}")]
    last = ends[-1] + 1 if ends else len(lines)
    return "".join(f"{line}\n" for line in lines[start:last])


def _python_part(text: str) -> str:
    """`text` up to the paragraph at which it is no Python any more."""
    for _ in range(_PARAGRAPHS):
        line = _faulty_line(text)[1]
        if line == 0:
            break
        lines = text.split("\n")
        blank = next((i for i in range(min(line, len(lines)) - 1, 0, -1) if not lines[i]), 0)
        if not blank:
            break
        text = "\n".join(lines[:blank])
    return f"{text.rstrip()}\n"


def _open_end(text: str) -> str:
    """What `text` leaves open: `2 braces are open`; empty for a text that ends as one may."""
    if holds_native(text) and text.lstrip().startswith(("//", C_START)):
        head = text.find(C_START)
        if "*/" not in text[head:]:
            return "the head comment is not closed"
        return _open_braces(text)
    told, _ = _faulty_line(text)
    return told if _PYTHON_GOES_ON.search(told) else ""


def _open_braces(text: str) -> str:
    """How many braces of a C text are open at its end, comments and strings aside."""
    depth, at = 0, 0
    while found := _C_PART.search(text, at):
        part, at = found[0], found.end()
        if part in ("{", "}"):
            depth += 1 if part == "{" else -1
        elif part == "/*" or found[1] is not None:
            end = "*/" if part == "/*" else f'){found[1]}"'
            close = text.find(end, at)
            if close < 0:
                return "a comment is not closed" if part == "/*" else "a string is not closed"
            at = close + len(end)
        elif part.lstrip().startswith("#"):
            return ""  # both branches may open what one end closes
    if depth <= 0:
        return ""
    return f"{depth} braces are open" if depth > 1 else "a brace is open"


def _ends_well(text: str) -> bool:
    """Whether the last line is one with which files end."""
    last = text.rstrip().rpartition("\n")[2]
    return last.startswith("}") or not text.lstrip().startswith(("//", C_START))


def _faulty_line(text: str) -> tuple[str, int]:
    """What Python says of `text` and of which line; ("", 0) where it is Python."""
    try:
        python_tree(text, "the file")
    except UserError as error:
        line = _LINE.search(str(error))
        return str(error).partition(": ")[2], int(line[1]) if line else 1
    return "", 0

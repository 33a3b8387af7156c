"""The fenced blocks of a reply, and the prose around them; what a model only thought is left out.

One pass over the lines. Models nest fences of one length, forget to close them, indent them in
lists and wrap a whole answer in another fence, so that CommonMark's rules are read leniently: a
fence with a language inside an open block opens a block in it, and every block is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

#: Blocks inside one another; a fence below them is text.
MAX_DEPTH = 8
#: Fences behind so many blocks are text.
MAX_BLOCKS = 1000
_LONGEST_NAME_LINE = 300
#: What introduces the name of a file is at most as many lines above its block.
_LINES_ABOVE = 2

_TAG = re.compile(r"<(/?)(?:think|thinking|thought|reasoning|reflection)>", re.IGNORECASE)
_FENCE = re.compile(r"[ \t]*+(?:(?:[-*+>]|\d{1,3}[.)])[ \t]++)*+(`{3,}+|~{3,}+)[ \t]*+(.*)")
_NAME = re.compile(r"(?<![\w.+-])([\w+-][\w.+-]*\.(?:hip|cuh?|cl|cpp|cc|c|hpp|h|py))(?![\w.])")
_COMMENT = ("//", "#", "/*")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    text: str
    info: str
    """What stands behind the opening fence: `hip`, `python title="k.py"`."""
    name: str
    """The file's name where the reply gives one; empty otherwise."""
    closed: bool
    outer: bool
    """Whether other blocks are inside it."""


@dataclass(frozen=True)
class Blocks:
    """What a reply is made of, reasoning left out."""

    blocks: tuple[Block, ...]
    """In the order in which they begin."""
    prose: str
    """Everything outside blocks."""
    reasoning: bool
    """Whether the reply ends inside its reasoning."""


@dataclass
class _Open:
    """A block whose end has not come yet."""

    fence: str
    info: str
    name: str
    lines: list[str] = field(default_factory=list)
    first_inner: int | None = None
    """Lines before the first block inside it."""


def read_blocks(text: str) -> Blocks:
    """The blocks of `text`, whose lines end with a line feed. Time is linear in its length."""
    scanner = _Scanner()
    for line in text.split("\n"):
        scanner.line(line)
    return scanner.end()


class _Scanner:
    """The state between two lines."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._made: list[Block | None] = []
        """In the order in which they begin; None where the end has not come."""
        self._places: list[int] = []
        """Where in `_made` each open block goes."""
        self._prose: list[str] = []
        self._reasoning = False

    def line(self, line: str) -> None:
        """Takes the next line."""
        kept = self._outside_reasoning(line)
        if kept is None:
            return
        fence = _FENCE.match(kept)
        if fence is None or not self._take_fence(kept, fence[1], fence[2].strip()):
            self._text(kept)

    def end(self) -> Blocks:
        """What was found."""
        while self._open:
            self._close(closed=False)
        blocks = tuple(b for b in self._made if b is not None)
        return Blocks(blocks, "\n".join(self._prose), self._reasoning)

    def _outside_reasoning(self, line: str) -> str | None:
        """What of `line` is said, not thought; None where nothing is."""
        tags = list(_TAG.finditer(line))
        stripped = line.strip()
        if not tags or (self._open and tags[0][0] != stripped):  # code may hold such words
            return None if self._reasoning else line
        kept, at = "", 0
        for tag in tags:
            if not self._reasoning:
                kept += line[at : tag.start()]
            opens, at_edge = not tag[1], stripped.startswith(tag[0]) or stripped.endswith(tag[0])
            if not opens and not self._reasoning and at_edge:
                self._forget()  # its beginning was not marked: all so far was thought
                kept = ""
            self._reasoning = opens
            at = tag.end()
        kept += "" if self._reasoning else line[at:]
        return kept

    def _forget(self) -> None:
        self._open, self._made, self._places, self._prose = [], [], [], []

    def _text(self, line: str) -> None:
        if not self._open:
            self._prose.append(line)
        for block in self._open:
            block.lines.append(line)

    def _take_fence(self, line: str, fence: str, info: str) -> bool:
        """Whether `line` opens or closes a block; else it is text."""
        if fence[0] in info:  # `` ```x``` `` in one line
            return False
        if not info:
            for depth in range(len(self._open) - 1, -1, -1):
                opened = self._open[depth].fence
                if opened[0] == fence[0] and len(opened) <= len(fence):
                    while len(self._open) > depth + 1:
                        self._close(closed=False)
                    self._close(closed=True)
                    self._text_inside(line)
                    return True
        if len(self._open) >= MAX_DEPTH or len(self._made) >= MAX_BLOCKS:
            return False
        name = _name_in(info) or self._name_above()
        for block in self._open:
            if block.first_inner is None:
                block.first_inner = len(block.lines)
        self._text_inside(line)
        self._open.append(_Open(fence, info, name))
        self._places.append(len(self._made))
        self._made.append(None)
        return True

    def _text_inside(self, line: str) -> None:
        """A fence is text of the blocks around it, and no prose."""
        for block in self._open:
            block.lines.append(line)

    def _close(self, *, closed: bool) -> None:
        block = self._open.pop()
        lines = block.lines if closed else block.lines[: block.first_inner]
        text = "\n".join(_unindented(lines)).rstrip("\n")
        outer = block.first_inner is not None and closed
        name = block.name or _name_in_comment(text)
        made = Block(f"{text}\n" if text.strip() else "", block.info, name, closed, outer)
        self._made[self._places.pop()] = made

    def _name_above(self) -> str:
        """The name of a file that the last lines of prose say; nothing where a block is open."""
        if self._open:
            return ""
        for line in reversed(self._prose[-_LINES_ABOVE:]):
            if line.strip():
                return _name_in(line)
        return ""


def _unindented(lines: list[str]) -> list[str]:
    """`lines` without the white space that all of them begin with, as in a list they do."""
    written = [line for line in lines if line.strip()]
    common = min((len(line) - len(line.lstrip(" \t")) for line in written), default=0)
    return [line[common:] for line in lines]


def _name_in(line: str) -> str:
    found = _NAME.search(line[:_LONGEST_NAME_LINE])
    return found[1] if found else ""


def _name_in_comment(text: str) -> str:
    first = text[:_LONGEST_NAME_LINE].split("\n", 1)[0].lstrip()
    return _name_in(first) if first.startswith(_COMMENT) and "include" not in first else ""

"""Breaks long lines of generated C as a person would: at commas, else before an operator, aligned.

A statement keeps its meaning whatever its layout, so that this is the only place that counts
columns: templates and printers write a statement on one line.
"""

from __future__ import annotations

import re

WIDTH = 100
_OPEN, _CLOSE = "([{", ")]}"
#: What binds least comes first; a line breaks before all of these but the first two.
_SEPARATORS = (
    ("; ",), (", ",), (" ? ", " : "), (" || ",), (" && ",), (" | ",), (" ^ ",), (" & ",),
    (" == ", " != "), (" < ", " <= ", " > ", " >= "), (" << ", " >> "), (" + ", " - "),
    (" * ", " / ", " % "),
)  # fmt: skip
#: A first operand of so few columns gets no line to itself.
_SHORT = 8
_ASSIGNMENT = re.compile(r" [-+*/%&|]?= ")
_CONTROL = re.compile(r"(?:} else )?(?:if|for|while) \(")


def fold_c(text: str, width: int = WIDTH) -> str:
    """`text` with every line of over `width` columns broken where that can be done."""
    return "\n".join(part for line in text.split("\n") for part in _line(line, width))


def _line(line: str, width: int) -> list[str]:
    code = line.lstrip()
    indent = line[: len(line) - len(code)]
    if len(line) <= width:
        return [line]
    if code.startswith("//"):
        return _comment(indent, code[2:].split(), width)
    code, mark, remark = code.partition("  // ")
    sentence = f"{remark[:1].upper()}{remark[1:].rstrip('.')}."
    above = _comment(indent, sentence.split(), width) if mark else []
    if code.startswith("#"):  # a macro is one line for the preprocessor
        return [*above, code]
    return above + _statement(indent, code, width)


def _comment(indent: str, words: list[str], width: int) -> list[str]:
    lines = [f"{indent}//"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > width and not lines[-1].endswith("//"):
            lines.append(f"{indent}//")
        lines[-1] += f" {word}"
    return lines


def _statement(indent: str, code: str, width: int) -> list[str]:
    """The lines of one statement, with what a condition or loop before it guards below."""
    if len(indent) + len(code) <= width:
        return [indent + code]
    control = _CONTROL.match(code)
    closing = _closing(code, control.end() - 1) if control else -1
    if closing > 0 and code[closing + 1 :] not in ("", " {"):
        guard = _statement(indent, code[: closing + 1], width)
        return guard + _statement(indent + "  ", code[closing + 2 :], width)
    tail = next((t for t in (" {", ";", ",") if code.endswith(t)), "")
    core = code.removesuffix(tail)
    if not _balanced(core):  # one of several lines that are laid out already
        return [indent + code]
    start, room = _start(core), width - len(tail)
    head = indent + core[:start]
    lines = _expression(core[start:], len(head), room)
    lines[0] = head + lines[0]
    if start and not core.startswith("return "):  # or all of it below, where that is shorter
        hanging = " " * (len(indent) + 4)
        below = _expression(core[start:], len(hanging), room)
        if _widest(lines) > room or len(below) + 1 < len(lines):
            lines = [head.rstrip(), hanging + below[0], *below[1:]]
    return [*lines[:-1], lines[-1] + tail]


def _expression(code: str, column: int, width: int) -> list[str]:
    """The lines of `code` that starts at `column`: all but the first with their blanks."""
    if column + len(code) <= width:
        return [code]
    pieces = _pieces(code)
    if len(pieces) > 1:
        return _filled(pieces, column, width)
    group = _widest_group(code)
    if group is None:
        return [code]
    first, last = group
    head, inner, tail = code[: first + 1], code[first + 1 : last], code[last:]
    lines = _expression(inner, column + len(head), width - len(tail))
    return [head + lines[0], *lines[1:-1], lines[-1] + tail] if lines[1:] else [code]


def _filled(pieces: list[str], column: int, width: int) -> list[str]:
    """As many pieces on a line as fit; one that fits on no line is broken itself."""
    lines = [""]
    choice = any(p.startswith("? ") for p in pieces)
    folded = False
    for position, piece in enumerate(pieces):
        used = column + len(lines[-1]) if len(lines) == 1 else len(lines[-1])
        space = 1 if position else 0
        bare = _bare(piece)
        sign = piece[: len(piece) - len(bare)]
        beside = _expression(bare, used + space + len(sign), width)
        fits = used + space + len(piece) <= width and not folded
        # 1.0f / (…) is broken inside the brackets: what leads them is too short for a line
        fits |= piece is pieces[-1] and used - column <= _SHORT and _widest(beside[1:]) <= width
        # the two sides of a choice stand below each other
        if position and (choice or not fits):
            lines.append(" " * column)
            used, space = column, 0
        inner = _expression(bare, used + space + len(sign), width)
        lines[-1] += " " * space + sign + inner[0]
        lines += inner[1:]
        folded = len(inner) > 1 and piece[-1] not in ",;"
    return lines


def _bare(piece: str) -> str:
    """`piece` without the operator that leads it."""
    return piece.partition(" ")[2] if re.match(r"[^\w\s(\[{\-!&*\"]+ |[-&*] ", piece) else piece


def _pieces(code: str) -> list[str]:
    """The parts between the weakest separators outside brackets, each with its own."""
    for separators in _SEPARATORS:
        pieces, depth, begin, at = [], 0, 0, 0
        while at < len(code):
            depth += (code[at] in _OPEN) - (code[at] in _CLOSE)
            found = next((s for s in separators if code.startswith(s, at)), "") if not depth else ""
            if found:
                end = at + len(found.rstrip()) if found[0] != " " else at
                pieces.append(code[begin:end].strip())
                begin = end
                at += len(found) - 1
            at += 1
        if pieces:
            return [*pieces, code[begin:].strip()]
    return [code]


def _start(core: str) -> int:
    """Where the expression of a statement begins: behind `=`, `return`, the type of a name."""
    if core.startswith("return "):
        return len("return ")
    several = len(_pieces(core)) > 1 and _pieces(core)[0].endswith(",")
    typed = re.match(r"(?:\w+ )+(?=\w+(?:\[.*?\])*(?: =|,))", core)
    if several:  # names of one declaration stand below each other
        return typed.end() if typed else 0
    depth = 0
    for at, letter in enumerate(core):
        depth += (letter in _OPEN) - (letter in _CLOSE)
        found = _ASSIGNMENT.match(core, at) if depth == 0 else None
        if found:
            return found.end()
    return 0


def _widest(lines: list[str]) -> int:
    return max((len(line) for line in lines), default=0)


def _balanced(code: str) -> bool:
    """Whether every bracket of `code` has its partner in it."""
    depth = 0
    for letter in code:
        depth += (letter in _OPEN) - (letter in _CLOSE)
        if depth < 0:
            return False
    return depth == 0


def _closing(code: str, opening: int) -> int:
    """Where the bracket that opens at `opening` closes; -1 if it does not."""
    depth = 0
    for at in range(opening, len(code)):
        depth += (code[at] in _OPEN) - (code[at] in _CLOSE)
        if depth == 0:
            return at
    return -1


def _widest_group(code: str) -> tuple[int, int] | None:
    """The longest bracketed stretch outside all others."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < len(code):
        closing = _closing(code, at) if code[at] in _OPEN else -1
        if closing > at + 1:
            found.append((at, closing))
        at = max(at, closing) + 1
    return max(found, key=lambda g: g[1] - g[0], default=None)

"""Breaks long lines of generated Python as a formatter would: inside brackets, at commas."""

from __future__ import annotations

import textwrap

WIDTH = 100
_OPEN, _CLOSE = "([{", ")]}"


def fold(text: str, width: int = WIDTH) -> str:
    """`text` with every line of over `width` columns broken where that can be done."""
    return "".join(f"{part}\n" for line in text.split("\n") for part in _fold(line, width))[:-1]


def _fold(line: str, width: int) -> list[str]:
    body = line.lstrip()
    group = _widest_group(line)
    if len(line) > width and body.startswith("# "):
        lead = f"{line[: len(line) - len(body)]}# "
        return textwrap.wrap(body[2:], width, initial_indent=lead, subsequent_indent=lead)
    if len(line) <= width or body.startswith(("#", '"""')) or group is None:
        return [line]
    first, last = group
    indent = line[: len(line) - len(body)]
    head, inner, tail = line[: first + 1], line[first + 1 : last], indent + line[last:]
    whole = f"{indent}    {inner}"
    items = _items(inner)
    if len(whole) <= width:
        return [head, whole, tail]
    if len(items) == 1:  # a comma after it would make parentheses a tuple
        return [head, *_fold(whole, width), tail]
    return [head, *(p for i in items for p in _fold(f"{indent}    {i},", width)), tail]


def _widest_group(line: str) -> tuple[int, int] | None:
    """Where the longest bracketed stretch outside all others starts and ends."""
    found: list[tuple[int, int]] = []
    depth = start = 0
    for at, letter in enumerate(line):
        if letter in _OPEN:
            depth += 1
            start = at if depth == 1 else start
        elif letter in _CLOSE and depth:  # others close what a line before has opened
            depth -= 1
            if depth == 0 and at > start + 1:
                found.append((start, at))
    return max(found, key=lambda g: g[1] - g[0], default=None)


def _items(inner: str) -> list[str]:
    """The parts between commas that are in no bracket, nor between a lambda's parameters."""
    parts, depth = [""], 0
    for letter in inner:
        depth += (letter in _OPEN) - (letter in _CLOSE)
        own = parts[-1].lstrip()
        parameters = own.startswith("lambda ") and ":" not in own
        if letter == "," and depth == 0 and not parameters:
            parts.append("")
        else:
            parts[-1] += letter
    return [p.strip() for p in parts if p.strip()]

"""Mutations of inputs: of bytes, of words, and of the structure that each form of input has."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

from .surface import Form

Mutation = Callable[[random.Random, bytes, tuple[bytes, ...]], bytes]

#: Numbers at which parsers break: past 32, 64 and 128 bits, past Python's limit of 4300 digits.
NUMBERS = (
    b"0", b"-1", b"1", b"2147483648", b"9223372036854775808", b"1e999", b"-1e999", b"1e-999",
    b"nan", b"inf", b"0.1", b"1_000", b"007", b"0x10", b"1" + b"0" * 5000, b"0x" + b"f" * 5000,
    b"2**10**9", b"1<<10**9", b"9" * 400, b"4300", b"1.5e308", b"true", b"-0",
)  # fmt: skip
_ODD = (
    b"\0", b"\r\n", b"\r", b"\xff\xfe", b"\xed\xa0\x80", b"\xe2\x80\xae", "\N{DIGIT ONE}".encode(),
    "é".encode(), "ﬁ".encode(), "１２".encode(), "²".encode(), b"\x1b[2J", b"\xef\xbb\xbf", b"\t",
    b"\\", b"'", b'"', b"'''", b'"""', b"#", b"{{", b"}}", b"\x0c", b"\x1a", "𝟙".encode(), b"%s",
    b"../../..", b"/etc/passwd", b"/dev/zero", b"a" * 300, "\u2028".encode(), b"\x85", b"\\u0000",
    b"\\ud800", b"\\\n", b"$(id)", b"__import__('os')", b"__class__", b"\x7f",
)  # fmt: skip
_PAIRS = ((b"(", b")"), (b"[", b"]"), (b"{", b"}"), (b'{"a":', b"}"), (b"not ", b""), (b"-", b""),
          (b"~", b""), (b"1 if 1 else ", b""), (b"min(1,", b")"), (b"{a=", b"}"), (b"f(", b")"),
          (b"lambda:", b""), (b"*", b""), (b"a.", b""), (b"'", b"'"), (b"1+", b""), (b"a=", b""),
          (b"1 and ", b""), (b"await ", b""), (b"x[", b"]"), (b"if 1:\n ", b""))  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_WORD = re.compile(rb"[A-Za-z_]\w*")


def mutate(
    chance: random.Random, data: bytes, other: bytes, form: Form, tokens: tuple[bytes, ...]
) -> bytes:
    """`data` with one to four mutations; `other` is another input to splice with."""
    kinds = [*_ANY, *_OF_FORM[form]]
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        data = _splice(chance, data, other) if chance.random() < 0.05 else (
            chance.choice(kinds)(chance, data, tokens))  # fmt: skip
    return data


def _place(chance: random.Random, data: bytes) -> int:
    return chance.randint(0, len(data))


def _flip(chance: random.Random, data: bytes, tokens: tuple[bytes, ...]) -> bytes:
    if not data:
        return bytes([chance.randrange(256)])
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _insert(chance: random.Random, data: bytes, tokens: tuple[bytes, ...]) -> bytes:
    at = _place(chance, data)
    return data[:at] + chance.choice(tokens or _ODD) + data[at:]


def _odd(chance: random.Random, data: bytes, tokens: tuple[bytes, ...]) -> bytes:
    at = _place(chance, data)
    return data[:at] + chance.choice(_ODD) + data[at:]


def _delete(chance: random.Random, data: bytes, tokens: tuple[bytes, ...]) -> bytes:
    at = _place(chance, data)
    return data[:at] + data[at + chance.choice((1, 1, 2, 4, 16, 64)) :]


def _repeat(chance: random.Random, data: bytes, tokens: tuple[bytes, ...]) -> bytes:
    at = _place(chance, data)
    part = data[at : at + chance.choice((1, 2, 8, 32))]
    count = chance.choice((2, 3, 10, 100, 1000))
    return data[:at] + part * min(count, 1 + 40_000 // max(1, len(part))) + data[at:]


def _number(chance: random.Random, data: bytes, tokens: tuple[bytes, ...]) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return _insert(chance, data, NUMBERS)
    match = chance.choice(found)
    return data[: match.start()] + chance.choice(NUMBERS) + data[match.end() :]


def _word(chance: random.Random, data: bytes, tokens: tuple[bytes, ...]) -> bytes:
    found = list(_WORD.finditer(data))
    if not found or not tokens:
        return _odd(chance, data, tokens)
    match = chance.choice(found)
    return data[: match.start()] + chance.choice(tokens) + data[match.end() :]


def _nest(chance: random.Random, data: bytes, tokens: tuple[bytes, ...]) -> bytes:
    left, right = chance.choice(_PAIRS)
    depth = chance.choice((1, 2, 20, 70, 150, 300, 1000, 3000))
    found = list(_NUMBER.finditer(data)) or list(_WORD.finditer(data))
    start, end = (0, len(data))
    if found and chance.random() < 0.7:
        start, end = chance.choice(found).span()
    closed = depth if chance.random() < 0.8 else 0
    return data[:start] + left * depth + data[start:end] + right * closed + data[end:]


def _line(chance: random.Random, data: bytes, tokens: tuple[bytes, ...]) -> bytes:
    """A line doubled, dropped, moved, or without its end."""
    lines = data.split(b"\n")
    at, to = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(4):
        case 0:
            lines.insert(to, lines[at])
        case 1:
            del lines[at]
        case 2:
            lines[at], lines[to] = lines[to], lines[at]
        case _:
            lines[at] = lines[at][: chance.randint(0, len(lines[at]))]
    return b"\n".join(lines)


def _splice(chance: random.Random, data: bytes, other: bytes) -> bytes:
    at, start = _place(chance, data), _place(chance, other)
    return data[:at] + other[start : start + chance.randint(0, 512)] + data[_place(chance, data) :]


def _crlf(chance: random.Random, data: bytes, tokens: tuple[bytes, ...]) -> bytes:
    return data.replace(b"\n", chance.choice((b"\r\n", b"\r", b"\n\n", b"\n\0")))


def _toml(chance: random.Random, data: bytes, tokens: tuple[bytes, ...]) -> bytes:
    """A value replaced, a key doubled, a table opened twice, a long dotted key."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    key, equals, _ = lines[at].partition(b"=")
    values = (*NUMBERS, b"[]", b"{}", b'""', b"[[]]", b"1979-05-27", b"07:32:00", b"'''",
              b'"\\u0000"', b'["x", 1]', b"{a.b.c = 1}", b"[1, true, 'x']", b'"N"', b'["1"]',
              b'["' + b"0" * 99 + b'"]', b'"' + b"x" * 3000 + b'"', b"false",
              b"-9223372036854775808")  # fmt: skip
    match chance.randrange(5):
        case 0 if equals:
            lines[at] = key + b"= " + chance.choice(values)
        case 1:
            lines.insert(at, lines[at])
        case 2:
            lines.insert(at, b".".join([b"a"] * chance.choice((2, 50, 400, 3000))) + b" = 1")
        case 3:
            opened = chance.choice((b"[%s]", b"[[%s]]"))
            lines.insert(at, opened % chance.choice(tokens or (b"a",)))
        case _:
            lines.insert(at, chance.choice(tokens or (b"a",)) + b" = " + chance.choice(values))
    return b"\n".join(lines)


def _json(chance: random.Random, data: bytes, tokens: tuple[bytes, ...]) -> bytes:
    """One value of the document replaced by another, or taken away; of one line, if there are."""
    head, newline, rest = data.partition(b"\n")
    lines = [head, rest] if newline and _loads(head) is not None else [data]
    document = _loads(lines[0])
    if not isinstance(document, dict | list) or not document:
        return _number(chance, data, tokens)
    place: Any = document
    while True:
        key = (
            chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
        )
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or chance.random() < 0.2:
            break
        place = inner
    if chance.random() < 0.15:
        del place[key]
    elif chance.random() < 0.15 and isinstance(place, dict):
        place[chance.choice(tokens or (b"x",)).decode(errors="replace")] = inner
    else:
        place[key] = _value(chance, inner)
    lines[0] = (
        json.dumps(document).replace('"\\u0001raw"', chance.choice(NUMBERS).decode()).encode()
    )
    return b"\n".join(lines)


def _loads(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _value(chance: random.Random, old: Any) -> Any:
    like: list[Any] = {
        str: ["", "x" * 400, "\0", "\ud800", "../../x", "/dev/zero", "a\nb", "\x1b[2J", "pass",
        "é" * 90,
              f"{old}{old}", "[red]", "{}", "1" * 5000, "timed-out", "/etc/passwd", "."],
        int: [0, -1, 1, 2**31, 2**63, 2**64, 10**400, -(10**30), 1.5],
        float: [0.0, -1.0, 1e308, float("inf"), float("nan"), 10**400, 5e-324, -1e308],
        bool: [True, False, 0, 2],
        list: [[], [None], [[]], old * 3 if isinstance(old, list) else []],
        dict: [{}, {"": ""}, {"a": {"a": {}}}],
    }.get(type(old), [None])  # fmt: skip
    if chance.random() < 0.7:
        return chance.choice(like)
    deep: Any = 1
    for _ in range(chance.choice((1, 100, 190, 210, 900))):
        deep = [deep] if chance.random() < 0.5 else {"a": deep}
    return chance.choice([None, 0, "", [], {}, True, 1e999, deep, "\x01raw", "\x01raw", ["x"] * 50])


def _operator(chance: random.Random, data: bytes, tokens: tuple[bytes, ...]) -> bytes:
    at = _place(chance, data)
    words = (b"+", b"-", b"*", b"//", b"%", b"<", b"==", b" and ", b" or ", b" if 1 else ", b"**",
             b"<<", b"(", b")", b",", b"N", b"ceil_div(", b"min(", b"max(", b"is_power_of_two(",
             b"/", b"@", b".", b"[0]", b":=", b" in ", b" is ", b"0", b"~", b"not ", b"f''", b"''",
             b"...", b"1j", b"1.5", b"*N", b"**N", b"x=1", b"lambda: ", b" for N in N", b"yield",
             b"await N")  # fmt: skip
    return data[:at] + b"".join(chance.choices(words, k=chance.choice((1, 1, 2, 5)))) + data[at:]


_ANY: tuple[Mutation, ...] = (
    _flip, _insert, _odd, _delete, _repeat, _number, _word, _nest, _line, _crlf,
)  # fmt: skip
_OF_FORM: dict[Form, tuple[Mutation, ...]] = {
    "expression": (_operator,) * 6,
    "line": (_word, _number),
    "toml": (_toml,) * 8,
    "native": (_toml, _toml, _toml, _toml, _operator),
    "python": (_operator, _operator, _word),
    "json": (_json,) * 12,
    "jsonl": (_json,) * 12,
}

"""Grid expressions, constraints and shapes of tasks: parsed, evaluated, printed, read again."""

from __future__ import annotations

import contextlib
import re

from mkgen.errors import UserError
from mkgen.expression import Expression, Name, evaluate, names, parse, substitute, to_c, to_python
from mkgen.task import Tensor

from ..surface import Surface, files, text_of

VALUES = {"N": 7, "ROWS": 4096, "COLS": 33, "THREADS": 256, "K": 0, "BIG": 2**62, "FLAG": True}
#: More than any size or count of bytes that a device will ever have.
_MOST_BITS = 256


def target(data: bytes) -> None:
    text = text_of(data)
    try:
        expression = parse(text)
    except UserError:
        pass
    else:
        _use(expression)
    try:
        tensor = Tensor(text if text.isascii() else "N")
        tensor.symbols()
        tensor.resolve(VALUES)
    except UserError:
        pass


def _use(expression: Expression) -> None:
    values = dict.fromkeys(names(expression), 3) | VALUES
    found = _value(expression, values)
    assert found is None or found.bit_length() <= _MOST_BITS, found
    _value(substitute(expression, {"N": Name("THREADS")}), values)
    text = to_python(expression)
    try:
        again = parse(text)
    except UserError:
        return  # printing may be longer than what it was read from, and too long
    other = _value(again, values)
    assert found is None or other is None or found == other, (text, found, other)
    with contextlib.suppress(UserError):
        to_c(expression)


def _value(expression: Expression, values: dict[str, int]) -> int | None:
    try:
        return evaluate(expression, values)
    except UserError:
        return None


def seeds() -> list[bytes]:
    found = {
        match
        for data in files("templates/*/*.j2")
        for match in re.findall(rb'"([^"\n]*(?:[-+*/%<>]|ceil_div)[^"\n]*)"', data)
    }
    own = [b"N", b"1", b"a if b else c", b"not a and b or c", b"is_power_of_two(N)", b"-N // K",
           b"min(N, ROWS, 3) % 2 == max(1, COLS)", b"ceil_div(ROWS * COLS, THREADS)",
           b"N, 2 * ROWS", b"(N != 1) >= (2 < 3)"]  # fmt: skip
    return [*own, *sorted(found)]


SURFACE = Surface("expression", target, seeds, "expression", longest=2200)

"""What a value is in terms of named sizes, found by how it changes when they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mkgen.expression import evaluate, parse

Sizes = Mapping[str, int]


class Unexplained(Exception):  # noqa: N818  (caught where it is raised for; no fault of anyone)
    """A value changes with the sizes, but not in a way that the expressions of tasks can say."""


@dataclass(frozen=True)
class Observed:
    """One value, seen under several choices of sizes."""

    sizes: Sequence[Sizes]
    """The choices; the first are the file's own numbers."""
    values: Sequence[Any]
    """The value under each."""

    def at(self, key: int | str) -> Observed:
        """The same for one element of the value."""
        return Observed(self.sizes, [v[key] for v in self.values])


def integer_text(seen: Observed, names: Sequence[str]) -> str:
    """The integer as an expression over `names`: `64`, `DIM`, `4 * DIM`, `DIM // HEADS`."""
    first = seen.values[0]
    if all(v == first for v in seen.values):
        return str(first)
    for text in _expressions(first, seen.sizes[0], names):
        expression = parse(text)
        if all(evaluate(expression, s) == v for s, v in zip(seen.sizes, seen.values, strict=True)):
            return text
    raise Unexplained(f"{first}")


def _expressions(value: int, sizes: Mapping[str, int], names: Sequence[str]) -> Iterator[str]:
    """Expressions that give `value` at `sizes`, the plainest first."""
    yield from (n for n in names if sizes[n] == value)
    for n in names:
        size = sizes[n]
        if size and value % size == 0:
            yield f"{value // size} * {n}"
        if value and size // value > 1 and size // (size // value) == value:
            yield f"{n} // {size // value}"
        yield f"{n} + {value - size}" if value > size else f"{n} - {size - value}"
    for a in names:
        for b in names:
            if a < b and sizes[a] * sizes[b] == value:
                yield f"{a} * {b}"
            if a < b and sizes[a] + sizes[b] == value:
                yield f"{a} + {b}"
            if a != b and sizes[b] and sizes[a] // sizes[b] == value:
                yield f"{a} // {b}"
            if a != b and sizes[a] - sizes[b] == value:
                yield f"{a} - {b}"
            if a != b and sizes[b] and value % sizes[b] == 0:
                factor = value // sizes[b]
                yield from (f"{b} * ({a} {sign} {abs(factor - sizes[a])})"
                            for sign in "+-" if (factor > sizes[a]) == (sign == "+"))  # fmt: skip
    for a in names:
        for b in names:
            for c in names:
                if a < b < c and sizes[a] * sizes[b] * sizes[c] == value:
                    yield f"{a} * {b} * {c}"


def value_text(seen: Observed, names: Sequence[str]) -> str:
    """A constructor argument as `Task.init` takes it: numbers may be expressions over `names`.

    Unexplained when it changes otherwise; TypeError when it is no plain value.
    """
    first = seen.values[0]
    if isinstance(first, bool) or first is None or isinstance(first, float | str):
        if any(v != first for v in seen.values):
            raise Unexplained(repr(first))
        return repr(first)
    if isinstance(first, int):
        return integer_text(seen, names)
    if isinstance(first, tuple | list):
        if any(len(v) != len(first) for v in seen.values):
            raise Unexplained(repr(first))
        parts = [value_text(seen.at(i), names) for i in range(len(first))]
        if isinstance(first, list):
            return f"[{', '.join(parts)}]"
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    raise TypeError(type(first).__name__)

"""Row-major views: an index into one shape as an index into another of as many elements."""

from __future__ import annotations

from collections.abc import Sequence

from mkgen.expression import Binary, Expression, Int, product


def regroup(
    shape: Sequence[Expression], index: Sequence[Expression], wanted: Sequence[Expression]
) -> tuple[Expression, ...]:
    """The index into `wanted` of the element at `index` of `shape`.

    Dimensions that correspond keep their index; only groups that were merged or split are taken
    through the element's position. Both shapes must have equally many elements.
    """
    if tuple(shape) == tuple(wanted):
        return tuple(index)
    given = [(d, i) for d, i in zip(shape, index, strict=True) if d != Int(1)]
    asked = [d for d in wanted if d != Int(1)]
    head: list[Expression] = []
    tail: list[Expression] = []
    while given and asked and (pair := _group(given, asked, 1)):
        head += _walk(given[: pair[0]], asked[: pair[1]])
        given, asked = given[pair[0] :], asked[pair[1] :]
    while given and asked and (pair := _group(given, asked, -1)):
        tail = _walk(given[-pair[0] :], asked[-pair[1] :]) + tail
        given, asked = given[: -pair[0]], asked[: -pair[1]]
    made = iter([*head, *_walk(given, asked), *tail])
    return tuple(Int(0) if d == Int(1) else next(made) for d in wanted)


def _group(
    given: Sequence[tuple[Expression, Expression]], asked: Sequence[Expression], step: int
) -> tuple[int, int] | None:
    """How many dimensions from one end hold as many elements as how many of the other."""
    sides = [[d for d, _ in given][::step], list(asked)[::step]]
    for total in range(2, len(sides[0]) + len(sides[1]) + 1):
        for left in range(1, min(total, len(sides[0]) + 1)):
            right = total - left
            if 1 <= right <= len(sides[1]) and (
                _factors(sides[0][:left]) == _factors(sides[1][:right])
            ):
                return left, right
    return None


def _factors(dimensions: Sequence[Expression]) -> tuple[int, list[str]]:
    """The literal part of a product, and its other factors in a fixed order."""
    number, rest = 1, []
    todo = list(dimensions)
    while todo:
        part = todo.pop()
        if isinstance(part, Int):
            number *= part.value
        elif isinstance(part, Binary) and part.op == "*":
            todo += [part.left, part.right]
        else:
            rest.append(repr(part))
    return number, sorted(rest)


def _walk(
    given: Sequence[tuple[Expression, Expression]], asked: Sequence[Expression]
) -> list[Expression]:
    """The index of one group, through the position within it."""
    if not given:
        return [Int(0)] * len(asked)
    position = given[0][1]
    for extent, index in given[1:]:
        position = position * extent + index
    found: list[Expression] = []
    for place, extent in enumerate(asked):
        inner = product(list(asked[place + 1 :]))
        here = position if inner == Int(1) else position // inner
        found.append(here if place == 0 else here % extent)
    return found

"""Index expressions as sums: which axis moves an index, and by how much."""

from __future__ import annotations

from collections.abc import Collection

from mkgen.expression import Binary, Expression, Int, Name, names


def affine(
    expression: Expression, axes: Collection[str]
) -> tuple[dict[str, Expression], Expression] | None:
    """Coefficient per axis and the constant rest, both over sizes; None when it is not a sum."""
    if not names(expression) & set(axes):
        return {}, expression
    if isinstance(expression, Name):
        return {expression.name: Int(1)}, Int(0)
    if not isinstance(expression, Binary):
        return None
    left, right = affine(expression.left, axes), affine(expression.right, axes)
    if left is None or right is None:
        return None
    if expression.op == "+" and not left[0].keys() & right[0].keys():
        return {**left[0], **right[0]}, left[1] + right[1]
    if expression.op == "-" and not right[0]:
        return left[0], left[1] - right[1]
    if expression.op == "*" and not right[0]:
        return {k: v * right[1] for k, v in left[0].items()}, left[1] * right[1]
    if expression.op == "*" and not left[0]:
        return {k: left[1] * v for k, v in right[0].items()}, left[1] * right[1]
    return None

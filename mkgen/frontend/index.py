"""Gathers: an index read from memory is an index expression, so it fuses like any other."""

from __future__ import annotations

from typing import Any

from mkgen.expression import Name
from mkgen.frontend.context import Context, Operand
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import Indirect


@lowers("aten.embedding.default")
def _embedding(context: Context, name: str, table: Operand, ids: Operand, *_: Any) -> Operand:
    """table[ids[...], :]."""
    axes = context.axes((*ids.shape, *table.shape[1:]))
    row = ids.at(*(Name(a.name) for a in axes[: len(ids.shape)]))
    rest = (Name(a.name) for a in axes[len(ids.shape) :])
    return context.emit(name, axes, table.at(Indirect(row), *rest), tag="gather")

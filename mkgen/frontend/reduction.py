"""Reductions and the normalisations built on them: rows of parallel axes, columns reduced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mkgen.expression import Int, Name, product
from mkgen.frontend.context import Context, Operand, apply, cast, constant
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import WIDENED, Axis, IndexValue, Load, Value


class Rows:
    """The axes of `x`, those in `dims` reduced."""

    def __init__(self, context: Context, x: Operand, dims: Sequence[int]) -> None:
        rank = len(x.shape)
        self.reduced = sorted({d % rank for d in dims}) if dims else list(range(rank))
        self.context, self.x = context, x
        every = context.axes(x.shape)
        self.axes = tuple(
            Axis(a.name, a.extent, "reduce") if i in self.reduced else a
            for i, a in enumerate(every)
        )
        self.parallel = every
        self.index = tuple(Name(a.name) for a in every)
        self.count = product([every[i].extent for i in self.reduced])

    def element(self, x: Operand | None = None) -> Load:
        """One element of `x` over all axes."""
        return (x or self.x).at(*self.index)

    def row(self, of: Operand) -> Load:
        """The result of a reduction, read at this row."""
        return of.at(*(n for i, n in enumerate(self.index) if i not in self.reduced))

    def reduce(self, wish: str, combine: str, value: Value) -> Operand:
        """Combines `value` over the reduced axes."""
        return self.context.emit(wish, self.axes, value, combine, tag="reduce")

    def each(self, wish: str, value: Value) -> Operand:
        """One value per element."""
        return self.context.emit(wish, self.parallel, _name(value, wish))

    def per_row(self, wish: str, value: Value) -> Operand:
        """One value per row."""
        rows = [a for i, a in enumerate(self.parallel) if i not in self.reduced]
        return self.context.emit(wish, rows, _name(value, wish))

    def size(self, dtype: str) -> Value:
        """How many elements are reduced, as a value of `dtype`."""
        return IndexValue(WIDENED.get(dtype, dtype), self.count)


def _name(value: Value, name: str) -> Value:
    from dataclasses import replace

    from mkgen.ir.nest import Apply

    return replace(value, name=name) if isinstance(value, Apply) and not value.name else value


def _keep(context: Context, name: str, result: Operand, rows: Rows, keepdim: bool) -> Operand:
    """`result` with the reduced dimensions kept as 1."""
    if not keepdim:
        return result
    shape = tuple(Int(1) if i in rows.reduced else d for i, d in enumerate(rows.x.shape))
    axes = context.axes(shape)
    index = [Name(a.name) for i, a in enumerate(axes) if i not in rows.reduced]
    return context.emit(name, axes, result.at(*index))


@lowers("aten.sum.dim_IntList", "aten.amax.default", "aten.amin.default", "aten.sum.default")
def _reduce(
    context: Context, name: str, x: Operand, dim: Any = None, keepdim: bool = False, **_: Any
) -> Operand:
    combine = next(c for c in ("sum", "max", "min") if c in name)
    rows = Rows(context, x, dim or ())
    value: Value = rows.element()
    if combine == "sum" and "float" not in x.dtype:
        value = cast(value, "int64")
    return _keep(context, name, rows.reduce(name, combine, value), rows, keepdim)


@lowers("aten.mean.dim", "aten.mean.default")
def _mean(
    context: Context, name: str, x: Operand, dim: Any = None, keepdim: bool = False, **_: Any
) -> Operand:
    rows = Rows(context, x, dim or ())
    total = rows.reduce("total", "sum", rows.element())
    mean = rows.per_row(name, apply("div", rows.row(total), rows.size(x.dtype)))
    return _keep(context, name, mean, rows, keepdim)


@lowers("aten.argmax.default", "aten.argmin.default")
def _arg(
    context: Context, name: str, x: Operand, dim: int | None = None, keepdim: bool = False
) -> Operand:
    """The extreme value, then the first position that holds it: two reductions every target has."""
    if dim is None and len(x.shape) > 1:
        raise context.unsupported(f"{name} over all axes of a tensor; give dim=")
    combine = "max" if "argmax" in name else "min"
    rows = Rows(context, x, (dim or 0,))
    best = rows.reduce("highest" if combine == "max" else "lowest", combine, rows.element())
    position = rows.axes[rows.reduced[0]]
    here = apply("eq", rows.element(), rows.row(best))
    if "float" in x.dtype:  # PyTorch: NaN is above all numbers, and the first one counts
        here = apply("or", here, apply("isnan", rows.element()))
    where = apply(
        "where",
        here,
        IndexValue("int32", Name(position.name)),
        IndexValue("int32", position.extent),
    )
    first = rows.reduce("position", "min", where)
    result = rows.per_row(name, cast(rows.row(first), "int64"))
    return _keep(context, name, result, rows, keepdim)


@lowers("aten.softmax.int", "aten._softmax.default")
def _softmax(context: Context, name: str, x: Operand, dim: int, *_: Any) -> Operand:
    rows = Rows(context, x, (dim,))
    highest = rows.reduce("highest", "max", rows.element())
    shifted = apply("sub", rows.element(), rows.row(highest))
    weight = rows.each("weight", apply("exp", shifted))
    total = rows.reduce("total", "sum", rows.element(weight))
    return rows.each(name, apply("div", rows.element(weight), rows.row(total)))


@lowers("aten.log_softmax.int", "aten._log_softmax.default")
def _log_softmax(context: Context, name: str, x: Operand, dim: int, *_: Any) -> Operand:
    rows = Rows(context, x, (dim,))
    highest = rows.reduce("highest", "max", rows.element())
    shifted = rows.each("shifted", apply("sub", rows.element(), rows.row(highest)))
    total = rows.reduce("total", "sum", apply("exp", rows.element(shifted)))
    log = rows.per_row("log_total", apply("log", rows.row(total)))
    return rows.each(name, apply("sub", rows.element(shifted), rows.row(log)))


@lowers("aten.layer_norm.default")
def _layer_norm(
    context: Context,
    name: str,
    x: Operand,
    normalized: Sequence[int],
    weight: Operand | None = None,
    bias: Operand | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Operand:
    """Two passes, mean then variance: the one-pass formula loses digits to cancellation."""
    rank = len(x.shape)
    rows = Rows(context, x, range(rank - len(normalized), rank))
    total = rows.reduce("total", "sum", rows.element())
    mean = rows.per_row("mean", apply("div", rows.row(total), rows.size(x.dtype)))
    centered = rows.each("centered", apply("sub", rows.element(), rows.row(mean)))
    square = apply("mul", rows.element(centered), rows.element(centered))
    squares = rows.reduce("squares", "sum", square)
    variance = apply("div", rows.row(squares), rows.size(x.dtype))
    scale = rows.per_row(
        "inverse_deviation", apply("rsqrt", apply("add", variance, constant(eps, x.dtype)))
    )
    value = apply("mul", rows.element(centered), rows.row(scale))
    if weight is not None:
        value = apply("mul", value, context.read(weight, rows.parallel))
    if bias is not None:
        value = apply("add", value, context.read(bias, rows.parallel))
    return rows.each(name, value)

"""Reductions: rows of parallel axes, columns reduced; over any axes of a tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from mkgen.expression import Expression, Int, Name, product
from mkgen.frontend.context import Context, Operand, apply, cast, constant, rooted
from mkgen.frontend.lower import lowers
from mkgen.frontend.pointwise import power, truth
from mkgen.ir.nest import Axis, IndexValue, Load, Value


class Rows:
    """The axes of `x`, those in `dims` (one, several; none or None: all) reduced."""

    def __init__(
        self, context: Context, x: Operand, dims: int | Sequence[int] | None = None
    ) -> None:
        rank = len(x.shape)
        given = [dims] if isinstance(dims, int) else list(dims or range(rank))
        self.reduced = sorted({d % rank for d in given}) if rank else []
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
        return self.context.emit(wish, self.parallel, rooted(value, wish))

    def per_row(self, wish: str, value: Value) -> Operand:
        """One value per row."""
        rows = [a for i, a in enumerate(self.parallel) if i not in self.reduced]
        return self.context.emit(wish, rows, rooted(value, wish))

    def size(self, dtype: str, less: float = 0) -> Value:
        """How many elements are reduced, less a number, as a value of `dtype`."""
        if less == int(less):
            return IndexValue(dtype, self.count - Int(int(less)))
        return apply("sub", IndexValue(dtype, self.count), constant(less, dtype))

    def mean(self, wish: str, value: Value) -> Operand:
        """The mean of `value` over the reduced axes."""
        total = self.reduce("total", "sum", value)
        return self.per_row(wish, apply("div", self.row(total), self.size(total.dtype)))

    def centered_squares(self) -> tuple[Operand, Operand, Operand]:
        """Mean, each element less it, the sum of squares of that.

        Two passes: the one-pass formula loses digits to cancellation.
        """
        mean = self.mean("mean", self.element())
        centered = self.each("centered", apply("sub", self.element(), self.row(mean)))
        square = apply("mul", self.element(centered), self.element(centered))
        return mean, centered, self.reduce("squares", "sum", square)


def keep(context: Context, name: str, result: Operand, rows: Rows, keepdim: bool) -> Operand:
    """`result` with the reduced dimensions kept as 1."""
    if not keepdim:
        return result
    shape = tuple(Int(1) if i in rows.reduced else d for i, d in enumerate(rows.x.shape))
    return context.view(result, shape)


def _counted(value: Value) -> Value:
    """What a sum or product of integers is computed in: int64, as PyTorch."""
    return value if "float" in value.dtype else cast(value, "int64")


def _simple(combine: str) -> Callable[..., Operand]:
    def lowering(
        context: Context, name: str, x: Operand, dim: Any = None, keepdim: bool = False,
        *, dtype: Any = None,
    ) -> Operand:  # fmt: skip
        rows = Rows(context, x, dim)
        value: Value = rows.element()
        if combine in ("sum", "prod"):
            value = _counted(value)
        return keep(context, name, rows.reduce(name, combine, value), rows, keepdim)

    return lowering


lowers("aten.sum.dim_IntList", "aten.sum.default")(_simple("sum"))
lowers("aten.prod.dim_int", "aten.prod.default")(_simple("prod"))
lowers("aten.amax.default", "aten.max.default")(_simple("max"))
lowers("aten.amin.default", "aten.min.default")(_simple("min"))


@lowers("aten.mean.dim", "aten.mean.default")
def _mean(
    context: Context, name: str, x: Operand, dim: Any = None, keepdim: bool = False, **_: Any
) -> Operand:
    rows = Rows(context, x, dim)
    return keep(context, name, rows.mean(name, rows.element()), rows, keepdim)


@lowers("aten.aminmax.default")
def _aminmax(
    context: Context, name: str, x: Operand, *, dim: int | None = None, keepdim: bool = False
) -> tuple[Operand, ...]:
    rows = Rows(context, x, dim)
    found = (rows.reduce(w, c, rows.element()) for w, c in (("lowest", "min"), ("highest", "max")))
    return tuple(keep(context, name, r, rows, keepdim) for r in found)


def _flat_position(rows: Rows) -> Expression:
    """The row-major position among the reduced axes."""
    flat: Expression = Int(0)
    for i in rows.reduced:
        axis = rows.axes[i]
        flat = flat * axis.extent + Name(axis.name)
    return flat


def extreme(rows: Rows, combine: str, name: str) -> tuple[Operand, Operand]:
    """The extreme value and the first position that holds it, as int64.

    Two reductions, which every target has. NaN is above and below all numbers.
    """
    best = rows.reduce("highest" if combine == "max" else "lowest", combine, rows.element())
    here = apply("eq", rows.element(), rows.row(best))
    if "float" in rows.element().dtype:
        here = apply("or", here, apply("isnan", rows.element()))
    # a position in one dimension fits 32 bits; one in a whole tensor may not
    width = "int32" if len(rows.reduced) == 1 else "int64"
    position = IndexValue(width, _flat_position(rows))
    where = apply("where", here, position, IndexValue(width, rows.count))
    first = rows.reduce("position", "min", where)
    return best, rows.per_row(name, cast(rows.row(first), "int64"))


def _arg(combine: str) -> Callable[..., Operand]:
    def lowering(
        context: Context, name: str, x: Operand, dim: int | None = None, keepdim: bool = False
    ) -> Operand:
        rows = Rows(context, x, dim)
        return keep(context, name, extreme(rows, combine, name)[1], rows, keepdim)

    return lowering


def _extreme_dim(combine: str) -> Callable[..., tuple[Operand, ...]]:
    def lowering(
        context: Context, name: str, x: Operand, dim: int, keepdim: bool = False
    ) -> tuple[Operand, ...]:
        rows = Rows(context, x, dim)
        return tuple(keep(context, name, r, rows, keepdim) for r in extreme(rows, combine, name))

    return lowering


for _combine in ("max", "min"):
    lowers(f"aten.arg{_combine}.default")(_arg(_combine))
    lowers(f"aten.{_combine}.dim")(_extreme_dim(_combine))


def _variance(
    context: Context, x: Operand, dim: Any, unbiased: Any, correction: Any
) -> tuple[Rows, Operand, Value]:
    """Rows, their means, and their variances as a value per row."""
    less = correction if correction is not None else int(unbiased is None or unbiased)
    rows = Rows(context, x, dim)
    mean, _, squares = rows.centered_squares()
    total = rows.row(squares)
    count = apply("maximum", rows.size(total.dtype, less), constant(0, total.dtype))
    return rows, mean, apply("div", total, count)


def _spread(root: bool, with_mean: bool, by_dim: bool) -> Callable[..., Any]:
    def lowering(
        context: Context, name: str, x: Operand, *given: Any, correction: Any = None,
        unbiased: Any = None, dim: Any = None, keepdim: bool = False,
    ) -> Any:  # fmt: skip
        values = list(given)
        if by_dim:  # dim, unbiased, keepdim; or dim alone, the rest by name
            dim = values[0] if values else dim
            unbiased = values[1] if len(values) > 1 else unbiased
            keepdim = values[2] if len(values) > 2 else keepdim
        elif values:
            unbiased = values[0]
        rows, mean, variance = _variance(context, x, dim, unbiased, correction)
        value = apply("sqrt", variance) if root else variance
        result = keep(context, name, rows.per_row(name, value), rows, keepdim)
        return (result, keep(context, name, mean, rows, keepdim)) if with_mean else result

    return lowering


for _word in ("var", "std", "var_mean", "std_mean"):
    _root, _both = _word.startswith("std"), _word.endswith("mean")
    lowers(f"aten.{_word}.default")(_spread(_root, _both, by_dim=False))
    lowers(f"aten.{_word}.dim", f"aten.{_word}.correction")(_spread(_root, _both, by_dim=True))


@lowers("aten.logsumexp.default")
def _logsumexp(context: Context, name: str, x: Operand, dim: Any, keepdim: bool = False) -> Operand:
    """log(sum(exp(x))), shifted by the largest so that nothing overflows."""
    rows = Rows(context, x, dim)
    highest = rows.reduce("highest", "max", rows.element())
    top = rows.row(highest)
    infinite = apply("eq", apply("abs", top), constant(math.inf, top.dtype))
    # infinity less itself is no number
    shift = rows.per_row("shift", apply("where", infinite, constant(0, top.dtype), top))
    grown = apply("exp", apply("sub", rows.element(), rows.row(shift)))
    total = rows.reduce("total", "sum", grown)
    log = apply("add", apply("log", rows.row(total)), rows.row(shift))
    return keep(context, name, rows.per_row(name, log), rows, keepdim)


def vector_norm(rows: Rows, name: str, order: float, value: Value) -> Operand:
    """The norm of `value` over the reduced axes."""
    size = apply("abs", value)
    if math.isinf(order):
        return rows.reduce(name, "max" if order > 0 else "min", size)
    if order == 0:
        whole = apply("ne", value, constant(0, value.dtype))
        return rows.reduce(name, "sum", cast(whole, value.dtype))
    if order == 1:
        return rows.reduce(name, "sum", size)
    term = apply("mul", value, value) if order == 2 else power(size, order)
    total = rows.row(rows.reduce("total", "sum", term))
    root = apply("sqrt", total) if order == 2 else power(total, 1 / order)
    return rows.per_row(name, root)


@lowers("aten.linalg_vector_norm.default", "aten.linalg_norm.default")
def _vector_norm(
    context: Context, name: str, x: Operand, order: float | None = 2, dim: Any = None,
    keepdim: bool = False, *, dtype: Any = None,
) -> Operand:  # fmt: skip
    rows = Rows(context, x, dim)
    return keep(
        context, name, vector_norm(rows, name, 2 if order is None else order, rows.element()),
        rows, keepdim,
    )  # fmt: skip


@lowers("aten.norm.ScalarOpt_dim", "aten.norm.Scalar")
def _norm(
    context: Context, name: str, x: Operand, order: float | None = 2, dim: Any = None,
    keepdim: bool = False,
) -> Operand:  # fmt: skip
    return _vector_norm(context, name, x, order, dim, keepdim)


def _quantifier(combine: str) -> Callable[..., Operand]:
    def lowering(
        context: Context, name: str, x: Operand, dim: Any = None, keepdim: bool = False
    ) -> Operand:
        rows = Rows(context, x, dim)
        found = rows.reduce("found", combine, cast(truth(rows.element()), "int32"))
        answer = apply("ne", rows.row(found), constant(0, "int32"))
        return keep(context, name, rows.per_row(name, answer), rows, keepdim)

    return lowering


for _word, _combine in (("any", "max"), ("all", "min")):
    lowers(*(f"aten.{_word}.{_form}" for _form in ("default", "dim", "dims")))(
        _quantifier(_combine)
    )


@lowers("aten.count_nonzero.default", "aten.count_nonzero.dim_IntList")
def _count_nonzero(context: Context, name: str, x: Operand, dim: Any = None) -> Operand:
    rows = Rows(context, x, dim)
    return rows.reduce(name, "sum", cast(truth(rows.element()), "int64"))

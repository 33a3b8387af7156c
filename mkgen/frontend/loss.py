"""Losses: a value per element or row, then its mean or sum."""

from __future__ import annotations

from collections.abc import Callable

from mkgen.expression import Name, product
from mkgen.frontend.context import Context, Operand, apply, constant, rooted
from mkgen.frontend.lower import lowers
from mkgen.frontend.normalization import distance, log_softmax
from mkgen.frontend.pointwise import elementwise
from mkgen.frontend.reduction import Rows
from mkgen.ir.nest import Axis, IndexValue, Indirect, Load, Value

#: PyTorch's numbers for `reduction`.
NONE, MEAN, SUM = 0, 1, 2

Compute = Callable[..., Value]


def reduced(
    context: Context, name: str, axes: tuple[Axis, ...], value: Value, reduction: int
) -> Operand:
    """One value per element, their mean, or their sum."""
    if reduction == NONE:
        return context.emit(name, axes, rooted(value, name))
    over = tuple(Axis(a.name, a.extent, "reduce") for a in axes)
    total = context.emit("total" if reduction == MEAN else name, over, value, "sum", tag="reduce")
    if reduction == SUM:
        return total
    count = IndexValue(total.dtype, product([a.extent for a in axes]))
    return context.emit(name, (), apply("div", total.at(), count, name=name))


def _elementwise_loss(
    context: Context, name: str, compute: Compute, reduction: int, *operands: Operand
) -> Operand:
    axes = context.axes(context.broadcast([o.shape for o in operands]))
    return reduced(
        context, name, axes, compute(*(context.read(o, axes) for o in operands)), reduction
    )


def _difference(a: Value, b: Value) -> Value:
    return apply("sub", a, b, name="difference")


@lowers("aten.mse_loss.default")
def _mse(context: Context, name: str, x: Operand, y: Operand, reduction: int = MEAN) -> Operand:
    def compute(a: Value, b: Value) -> Value:
        difference = _difference(a, b)
        return apply("mul", difference, difference)

    return _elementwise_loss(context, name, compute, reduction, x, y)


@lowers("aten.l1_loss.default")
def _l1(context: Context, name: str, x: Operand, y: Operand, reduction: int = MEAN) -> Operand:
    def compute(a: Value, b: Value) -> Value:
        return apply("abs", _difference(a, b))

    return _elementwise_loss(context, name, compute, reduction, x, y)


@lowers("aten.smooth_l1_loss.default")
def _smooth_l1(
    context: Context, name: str, x: Operand, y: Operand, reduction: int = MEAN, beta: float = 1.0
) -> Operand:
    """A parabola up to `beta`, a line beyond."""

    def compute(a: Value, b: Value) -> Value:
        size = apply("abs", _difference(a, b), name="distance")
        if beta == 0:
            return size
        half, limit = constant(0.5, a.dtype), constant(beta, a.dtype)
        near = apply("mul", apply("mul", half, size), size)
        near = near if beta == 1 else apply("div", near, limit)
        far = apply("sub", size, constant(0.5 * beta, a.dtype))
        return apply("where", apply("lt", size, limit), near, far)

    return _elementwise_loss(context, name, compute, reduction, x, y)


@lowers("aten.huber_loss.default")
def _huber(
    context: Context, name: str, x: Operand, y: Operand, reduction: int = MEAN, delta: float = 1.0
) -> Operand:
    """A parabola up to `delta`, a line of that slope beyond."""

    def compute(a: Value, b: Value) -> Value:
        size = apply("abs", _difference(a, b), name="distance")
        half, limit = constant(0.5, a.dtype), constant(delta, a.dtype)
        near = apply("mul", apply("mul", half, size), size)
        far = apply("mul", limit, apply("sub", size, constant(0.5 * delta, a.dtype)))
        return apply("where", apply("le", size, limit), near, far)

    return _elementwise_loss(context, name, compute, reduction, x, y)


@lowers("aten.binary_cross_entropy.default")
def _bce(
    context: Context, name: str, x: Operand, y: Operand, weight: Operand | None = None,
    reduction: int = MEAN,
) -> Operand:  # fmt: skip
    """-(y log x + (1 - y) log(1 - x)), the logarithms at least -100 as in PyTorch."""

    def compute(p: Value, t: Value, w: Value | None = None) -> Value:
        lowest, one = constant(-100, p.dtype), constant(1, p.dtype)
        yes = apply("maximum", apply("log", p), lowest)
        no = apply("maximum", apply("log1p", apply("neg", p)), lowest)
        loss = apply("sub", apply("mul", apply("sub", t, one), no), apply("mul", t, yes))
        return loss if w is None else apply("mul", loss, w)

    given = (x, y) if weight is None else (x, y, weight)
    return _elementwise_loss(context, name, compute, reduction, *given)


@lowers("aten.binary_cross_entropy_with_logits.default")
def _bce_with_logits(
    context: Context, name: str, x: Operand, y: Operand, weight: Operand | None = None,
    pos_weight: Operand | None = None, reduction: int = MEAN,
) -> Operand:  # fmt: skip
    """(1 - y) x + factor * log(1 + exp(-x)), without overflow; factor is 1 + (pos - 1) y."""
    axes = context.axes(context.broadcast([x.shape, y.shape]))
    logit, t = context.read(x, axes), context.read(y, axes)
    zero, one = constant(0, logit.dtype), constant(1, logit.dtype)
    decay = apply("log1p", apply("exp", apply("neg", apply("abs", logit))))
    soft = apply("add", decay, apply("maximum", apply("neg", logit), zero))
    if pos_weight is not None:
        more = apply("sub", context.read(pos_weight, axes), one)
        soft = apply("mul", apply("add", one, apply("mul", more, t)), soft)
    loss = apply("add", apply("mul", apply("sub", one, t), logit), soft)
    if weight is not None:
        loss = apply("mul", loss, context.read(weight, axes))
    return reduced(context, name, axes, loss, reduction)


@lowers("aten.kl_div.default")
def _kl_div(
    context: Context, name: str, x: Operand, y: Operand, reduction: int = MEAN,
    *, log_target: bool = False,
) -> Operand:  # fmt: skip
    """y (log y - x), 0 where y is 0; with `log_target` exp(y) (y - x)."""

    def compute(a: Value, t: Value) -> Value:
        if log_target:
            return apply("mul", apply("exp", t), apply("sub", t, a))
        zero = constant(0, t.dtype)
        entropy = apply("where", apply("eq", t, zero), zero, apply("mul", t, apply("log", t)))
        return apply("sub", entropy, apply("mul", t, a))

    return _elementwise_loss(context, name, compute, reduction, x, y)


@lowers("aten.hinge_embedding_loss.default")
def _hinge_embedding(
    context: Context, name: str, x: Operand, y: Operand, margin: float = 1.0, reduction: int = MEAN
) -> Operand:
    """x where y is 1, max(0, margin - x) where y is -1."""

    def compute(v: Value, t: Value) -> Value:
        zero = constant(0, v.dtype)
        room = apply("maximum", apply("sub", constant(margin, v.dtype), v), zero)
        far = apply("where", apply("ne", t, constant(1, t.dtype)), room, zero)
        near = apply("where", apply("ne", t, constant(-1, t.dtype)), v, zero)
        return apply("add", far, near)

    return _elementwise_loss(context, name, compute, reduction, x, y)


@lowers("aten.margin_ranking_loss.default")
def _margin_ranking(
    context: Context, name: str, a: Operand, b: Operand, y: Operand, margin: float = 0.0,
    reduction: int = MEAN,
) -> Operand:  # fmt: skip
    """max(0, -y (a - b) + margin)."""

    def compute(p: Value, q: Value, t: Value) -> Value:
        product_ = apply("mul", apply("neg", t), apply("sub", p, q))
        lifted = apply("add", product_, constant(margin, p.dtype)) if margin else product_
        return apply("maximum", lifted, constant(0, p.dtype))

    return _elementwise_loss(context, name, compute, reduction, a, b, y)


@lowers("aten.cosine_embedding_loss.default")
def _cosine_embedding(
    context: Context, name: str, a: Operand, b: Operand, y: Operand, margin: float = 0.0,
    reduction: int = MEAN,
) -> Operand:  # fmt: skip
    """1 - cos where y is 1, max(0, cos - margin) where y is -1."""
    cosine = _cosine(context, a, b)

    def compute(c: Value, t: Value) -> Value:
        zero = constant(0, c.dtype)
        near = apply("sub", constant(1, c.dtype), c)
        far = apply("maximum", apply("sub", c, constant(margin, c.dtype)), zero)
        other = apply("where", apply("eq", t, constant(-1, t.dtype)), far, zero)
        return apply("where", apply("eq", t, constant(1, t.dtype)), near, other)

    return _elementwise_loss(context, name, compute, reduction, cosine, y)


def _cosine(context: Context, a: Operand, b: Operand) -> Operand:
    """As that loss has it: under one root, each square raised by 1e-12."""
    rows = Rows(context, a, -1)
    left, right = (context.read(o, rows.parallel) for o in (a, b))
    dot = rows.reduce("dot", "sum", apply("mul", left, right))
    tiny = constant(1e-12, left.dtype)
    squares = [
        rows.row(rows.reduce(wish, "sum", apply("mul", v, v)))
        for wish, v in (("square_a", left), ("square_b", right))
    ]
    both = apply("mul", *(apply("add", s, tiny) for s in squares))
    return rows.per_row("cosine", apply("div", rows.row(dot), apply("sqrt", both)))


@lowers("aten.triplet_margin_loss.default")
def _triplet_margin(
    context: Context, name: str, anchor: Operand, positive: Operand, negative: Operand,
    margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False,
    reduction: int = MEAN,
) -> Operand:  # fmt: skip
    """max(0, margin + distance to the positive - distance to the negative)."""
    _, near = distance(context, "positive_distance", anchor, positive, p, eps)
    _, far = distance(context, "negative_distance", anchor, negative, p, eps)
    if swap:
        _, other = distance(context, "swapped_distance", positive, negative, p, eps)
        far = elementwise(context, "nearer", lambda a, b: apply("minimum", a, b), far, other)

    def compute(d: Value, e: Value) -> Value:
        lifted = apply("sub", apply("add", constant(margin, d.dtype), d), e)
        return apply("maximum", lifted, constant(0, d.dtype))

    return _elementwise_loss(context, name, compute, reduction, near, far)


# -- classes ------------------------------------------------------------------------------------


class Classes:
    """Scores x[N, C, …] (or x[C]) and the index of each position's class, some of them ignored."""

    def __init__(
        self, context: Context, x: Operand, target: Operand, weight: Operand | None, ignored: int
    ) -> None:
        self.context, self.x, self.weight = context, x, weight
        self.dim = 1 if len(x.shape) > 1 else 0
        self.axes = context.axes((*x.shape[: self.dim], *x.shape[self.dim + 1 :]))
        self.index = tuple(Name(a.name) for a in self.axes)
        label = target.at(*self.index)
        self.counts = apply("ne", label, constant(ignored, label.dtype))
        # what is ignored may lie outside the classes
        self.label = apply("where", self.counts, label, constant(0, label.dtype))

    def score(self, of: Operand) -> Load:
        """`of` at the class of this position."""
        return of.at(*self.index[: self.dim], Indirect(self.label), *self.index[self.dim :])

    def factor(self) -> Value:
        """What this position weighs: its class's weight, 0 where it is ignored."""
        zero = constant(0, "float32")
        weight: Value = constant(1, "float32")
        if self.weight is not None:
            weight = self.weight.at(Indirect(self.label))
        return apply("where", self.counts, weight, zero)

    def reduced(self, name: str, loss: Value, reduction: int) -> Operand:
        """`loss`, already weighed, per position, summed, or over the sum of the weights."""
        if reduction != MEAN:
            return reduced(self.context, name, self.axes, loss, reduction)
        over = tuple(Axis(a.name, a.extent, "reduce") for a in self.axes)
        total = self.context.emit("total", over, loss, "sum", tag="reduce")
        weight = self.context.emit("total_weight", over, self.factor(), "sum", tag="reduce")
        return self.context.emit(name, (), apply("div", total.at(), weight.at(), name=name))


@lowers("aten.nll_loss_nd.default", "aten.nll_loss.default", "aten.nll_loss2d.default")
def _nll(
    context: Context, name: str, x: Operand, target: Operand, weight: Operand | None = None,
    reduction: int = MEAN, ignored: int = -100,
) -> Operand:  # fmt: skip
    classes = Classes(context, x, target, weight, ignored)
    loss = apply("neg", classes.score(x))
    return classes.reduced(name, _weighed(loss, classes), reduction)


def _weighed(loss: Value, classes: Classes) -> Value:
    # not a product with 0: the score of an ignored position may be infinite
    if classes.weight is not None:
        loss = apply("mul", classes.weight.at(Indirect(classes.label)), loss)
    return apply("where", classes.counts, loss, constant(0, loss.dtype))


@lowers("aten.cross_entropy_loss.default")
def _cross_entropy(
    context: Context, name: str, x: Operand, target: Operand, weight: Operand | None = None,
    reduction: int = MEAN, ignored: int = -100, smoothing: float = 0.0,
) -> Operand:  # fmt: skip
    """The logarithm of the softmax of x at each position's class, negated."""
    if smoothing:
        raise context.unsupported(
            f"{name} with label_smoothing={smoothing}; mix the targets and pass probabilities"
        )
    if "float" in target.dtype:
        return _cross_entropy_of_probabilities(context, name, x, target, weight, reduction)
    classes = Classes(context, x, target, weight, ignored)
    rows = Rows(context, x, classes.dim)
    highest = rows.reduce("highest", "max", rows.element())
    shifted = apply("sub", rows.element(), rows.row(highest))
    total = rows.reduce("total", "sum", apply("exp", shifted))
    # log(total) + (highest - score): large scores cancel before the logarithm is added
    gap = apply("sub", highest.at(*classes.index), classes.score(x))
    loss = apply("add", apply("log", total.at(*classes.index)), gap)
    weighed = context.emit("row_loss", classes.axes, rooted(_weighed(loss, classes), "row_loss"))
    if reduction == NONE:
        return weighed
    return classes.reduced(name, weighed.at(*classes.index), reduction)


def _cross_entropy_of_probabilities(
    context: Context, name: str, x: Operand, target: Operand, weight: Operand | None, reduction: int
) -> Operand:
    """-sum over the classes of target * log softmax(x); the mean is over positions."""
    dim = 1 if len(x.shape) > 1 else 0
    rows = Rows(context, x, dim)
    logs = log_softmax(rows, "log_softmax")
    term = apply("mul", rows.element(logs), rows.element(target))
    if weight is not None:
        term = apply("mul", term, weight.at(rows.index[dim]))
    total = rows.reduce("row_total", "sum", term)
    axes = tuple(a for i, a in enumerate(rows.parallel) if i != dim)
    loss = apply("neg", total.at(*(Name(a.name) for a in axes)))
    return reduced(context, name, axes, loss, reduction)


@lowers("aten.soft_margin_loss.default")
def _soft_margin(
    context: Context, name: str, x: Operand, y: Operand, reduction: int = MEAN
) -> Operand:
    """log(1 + exp(-y x))."""

    def compute(v: Value, t: Value) -> Value:
        turned = apply("mul", apply("neg", t), v)
        return apply("log1p", apply("exp", turned))

    return _elementwise_loss(context, name, compute, reduction, x, y)

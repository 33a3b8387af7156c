"""Activation functions: one value per element, as neural networks know them."""

from __future__ import annotations

import math

from mkgen.expression import Int, Name
from mkgen.frontend.context import Context, Operand, apply, constant, rooted
from mkgen.frontend.lower import lowers
from mkgen.frontend.pointwise import (
    Number,
    clamped,
    elementwise,
    greater,
    one,
    scaled,
    unary,
    zero,
)
from mkgen.ir.nest import Value


def relu(x: Value) -> Value:
    """x where it is not below 0: keeps NaN, as PyTorch does."""
    return apply("where", apply("lt", x, zero(x)), zero(x), x)


def gelu(x: Value) -> Value:
    """x * Phi(x), by erf."""
    erf = apply("erf", apply("mul", x, constant(math.sqrt(0.5), x.dtype)))
    half = apply("mul", constant(0.5, x.dtype), x)
    return apply("mul", half, apply("add", one(x), erf))


def gelu_tanh(x: Value) -> Value:
    """The tanh approximation of gelu."""
    cube = apply("mul", apply("mul", x, x), x)
    inner = apply("add", x, apply("mul", constant(0.044715, x.dtype), cube))
    tanh = apply("tanh", apply("mul", constant(math.sqrt(2 / math.pi), x.dtype), inner))
    half = apply("mul", constant(0.5, x.dtype), x)
    return apply("mul", half, apply("add", one(x), tanh))


def silu(x: Value) -> Value:
    """x * sigmoid(x)."""
    return apply("mul", x, apply("sigmoid", x))


def hardsigmoid(x: Value) -> Value:
    """clamp(x + 3, 0, 6) / 6."""
    six = constant(6, x.dtype)
    return apply("div", clamped(apply("add", x, constant(3, x.dtype)), zero(x), six), six)


def hardswish(x: Value) -> Value:
    """x * clamp(x + 3, 0, 6) / 6."""
    six = constant(6, x.dtype)
    gate = clamped(apply("add", x, constant(3, x.dtype)), zero(x), six)
    return apply("div", apply("mul", x, gate), six)


def elu(x: Value, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Value:
    """scale * x above 0, scale * alpha * (exp(input_scale * x) - 1) below."""
    inner = x if input_scale == 1 else apply("mul", x, constant(input_scale, x.dtype))
    # exp of a large number would overflow where the result is not chosen
    grown = apply("expm1", apply("minimum", inner, zero(x)))
    below = grown if alpha * scale == 1 else apply("mul", constant(alpha * scale, x.dtype), grown)
    above = x if scale == 1 else apply("mul", constant(scale, x.dtype), x)
    return apply("where", greater(x, zero(x)), above, below)


def selu(x: Value) -> Value:
    """elu with the constants of self-normalising networks."""
    return elu(x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


def mish(x: Value) -> Value:
    """x * tanh(log(1 + exp(x))), as x * w / (w + 2) with w = exp(x) * (exp(x) + 2).

    The same value without the cancellation that tanh of a small number may have. At 20 the factor
    is 1 to the last bit, so that exp need not overflow.
    """
    grown = apply("exp", apply("minimum", x, constant(20, x.dtype)))
    two = constant(2, x.dtype)
    weight = apply("mul", grown, apply("add", grown, two))
    return apply("mul", x, apply("div", weight, apply("add", weight, two)))


def softplus(x: Value, beta: float = 1.0, threshold: float = 20.0) -> Value:
    """log(1 + exp(beta * x)) / beta; x itself where beta * x is above the threshold.

    As max(v, 0) + log(1 + exp(-|v|)) with v = beta * x: an exponential that is half a unit off
    far from zero, as a GPU's is, would be seen in log(1 + exp(v)).
    """
    inner = x if beta == 1 else apply("mul", x, constant(beta, x.dtype))
    limit = constant(threshold, x.dtype)
    decay = apply("exp", apply("neg", apply("abs", inner)))
    soft = apply("add", apply("maximum", inner, zero(x)), apply("log1p", decay))
    soft = soft if beta == 1 else apply("div", soft, constant(beta, x.dtype))
    return apply("where", greater(inner, limit), x, soft)


def log_sigmoid(x: Value) -> Value:
    """min(x, 0) - log(1 + exp(-|x|))."""
    decay = apply("exp", apply("neg", apply("abs", x)))
    return apply("sub", apply("minimum", x, zero(x)), apply("log1p", decay))


unary("aten.relu.default", relu, floating=False)
unary("aten.relu6.default", lambda x: clamped(x, zero(x), constant(6, x.dtype)), floating=False)
for _op, _compute in {
    "silu": silu,
    "hardsigmoid": hardsigmoid,
    "hardswish": hardswish,
    "selu": selu,
    "mish": mish,
    "log_sigmoid": log_sigmoid,
}.items():
    unary(f"aten.{_op}.default", _compute, floating=True)


@lowers("aten.gelu.default")
def _gelu(context: Context, name: str, x: Operand, *, approximate: str = "none") -> Operand:
    return elementwise(context, name, gelu if approximate == "none" else gelu_tanh, x)


@lowers("aten.leaky_relu.default")
def _leaky_relu(context: Context, name: str, x: Operand, slope: float = 0.01) -> Operand:
    def compute(v: Value) -> Value:
        return apply("where", apply("lt", v, zero(v)), scaled(v, slope), v)

    return elementwise(context, name, compute, x)


@lowers("aten.elu.default")
def _elu(
    context: Context, name: str, x: Operand, alpha: Number = 1, scale: Number = 1,
    input_scale: Number = 1,
) -> Operand:  # fmt: skip
    return elementwise(context, name, lambda v: elu(v, alpha, scale, input_scale), x)


@lowers("aten.celu.default")
def _celu(context: Context, name: str, x: Operand, alpha: Number = 1.0) -> Operand:
    return elementwise(context, name, lambda v: elu(v, alpha, 1.0, 1 / alpha), x)


@lowers("aten.softplus.default")
def _softplus(
    context: Context, name: str, x: Operand, beta: Number = 1, threshold: Number = 20
) -> Operand:
    return elementwise(context, name, lambda v: softplus(v, beta, threshold), x)


@lowers("aten.threshold.default")
def _threshold(
    context: Context, name: str, x: Operand, threshold: Number, other: Number
) -> Operand:
    """x where it is above the threshold, else `other`."""

    def compute(v: Value) -> Value:
        low = apply("le", v, constant(threshold, v.dtype))
        return apply("where", low, constant(other, v.dtype), v)

    return elementwise(context, name, compute, x)


@lowers("aten.softshrink.default")
def _softshrink(context: Context, name: str, x: Operand, width: Number = 0.5) -> Operand:
    """x moved towards 0 by `width`; 0 within it."""

    def compute(v: Value) -> Value:
        margin = constant(width, v.dtype)
        below = apply(
            "where",
            apply("lt", v, apply("neg", margin)),
            apply("add", v, margin),
            apply("mul", v, zero(v)),
        )  # fmt: skip  (0, or NaN)
        return apply("where", greater(v, margin), apply("sub", v, margin), below)

    return elementwise(context, name, compute, x)


@lowers("aten.hardshrink.default")
def _hardshrink(context: Context, name: str, x: Operand, width: Number = 0.5) -> Operand:
    """0 where |x| is at most `width`."""

    def compute(v: Value) -> Value:
        inside = apply("le", apply("abs", v), constant(width, v.dtype))
        return apply("where", inside, zero(v), v)

    return elementwise(context, name, compute, x)


@lowers("aten.prelu.default", "aten._prelu_kernel.default")
def _prelu(context: Context, name: str, x: Operand, weight: Operand) -> Operand:
    """x above 0, weight[channel] * x below; channels are dimension 1."""
    axes = context.axes(x.shape)
    index = context.read(x, axes).index
    single = context.extent(weight.shape[-1]) == 1
    if len(weight.shape) == len(x.shape) and len(x.shape) > 1:
        slope = context.read(weight, axes)
    elif single or len(x.shape) < 2:
        slope = weight.at(*(Int(0) for _ in weight.shape))
    else:
        slope = weight.at(index[1])
    value = x.at(*index)
    below = apply("mul", slope, value)
    chosen = apply("where", greater(value, zero(value)), value, below)
    return context.emit(name, axes, rooted(chosen, name))


@lowers("aten.glu.default")
def _glu(context: Context, name: str, x: Operand, dim: int = -1) -> Operand:
    """The first half of a dimension times the sigmoid of the second."""
    dim %= len(x.shape)
    half = context.derived("HALF", x.shape[dim] // 2)
    axes = context.axes((*x.shape[:dim], half, *x.shape[dim + 1 :]))
    index = [Name(a.name) for a in axes]
    gate = x.at(*index[:dim], index[dim] + half, *index[dim + 1 :])
    value = apply("mul", x.at(*index), apply("sigmoid", gate))
    return context.emit(name, axes, rooted(value, name))


@lowers("aten.hardtanh.default")
def _hardtanh(
    context: Context, name: str, x: Operand, low: Number = -1, high: Number = 1
) -> Operand:
    return elementwise(context, name, clamped, x, low, high)

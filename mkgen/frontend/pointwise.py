"""Pointwise ops: one value per element of the broadcast shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mkgen.frontend.context import Context, Operand, apply, cast, constant
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import WIDENED, Value

Number = float | int


def _named(value: Value, name: str) -> Value:
    """Marks the root of a computation with the user's node name."""
    from dataclasses import replace

    from mkgen.ir.nest import Apply

    return replace(value, name=name) if isinstance(value, Apply) else value


def _unary(overload: str, compute: Callable[..., Value]) -> None:
    def lowering(context: Context, name: str, x: Operand, **_: Any) -> Operand:
        return context.pointwise(name, lambda v: _named(compute(v), name), x)

    lowers(overload)(lowering)


def _binary(overloads: tuple[str, ...], compute: Callable[..., Value]) -> None:
    def lowering(context: Context, name: str, x: Any, y: Any, alpha: Number = 1) -> Operand:
        def scaled(a: Value, b: Value) -> Value:
            factor = apply("mul", b, constant(alpha, b.dtype)) if alpha != 1 else b
            return _named(compute(a, factor), name)

        return context.pointwise(name, scaled, x, y)

    lowers(*overloads)(lowering)


def relu(x: Value) -> Value:
    """x where it is not below 0: keeps NaN, as PyTorch does."""
    zero = constant(0, x.dtype)
    return apply("where", apply("lt", x, zero), zero, x)


def gelu(x: Value) -> Value:
    """x * Phi(x), by erf."""
    half, one = constant(0.5, x.dtype), constant(1, x.dtype)
    erf = apply("erf", apply("mul", x, constant(math.sqrt(0.5), x.dtype)))
    return apply("mul", apply("mul", half, x), apply("add", one, erf))


def gelu_tanh(x: Value) -> Value:
    """The tanh approximation of gelu."""
    cube = apply("mul", apply("mul", x, x), x)
    inner = apply("add", x, apply("mul", constant(0.044715, x.dtype), cube))
    tanh = apply("tanh", apply("mul", constant(math.sqrt(2 / math.pi), x.dtype), inner))
    half = apply("mul", constant(0.5, x.dtype), x)
    return apply("mul", half, apply("add", constant(1, x.dtype), tanh))


_UNARY: dict[str, Callable[..., Value]] = {
    "relu": relu,
    "silu": lambda x: apply("mul", x, apply("sigmoid", x)),
    "square": lambda x: apply("mul", x, x),
    "reciprocal": lambda x: apply("div", constant(1, x.dtype), x),
}
for _op in ("neg", "abs", "exp", "log", "sqrt", "rsqrt", "erf", "tanh", "sigmoid", "floor"):
    _UNARY[_op] = lambda x, op=_op: apply(op, x)
for _op, _compute in _UNARY.items():
    _unary(f"aten.{_op}.default", _compute)
for _op in ("add", "sub", "mul", "div"):
    _binary((f"aten.{_op}.Tensor", f"aten.{_op}.Scalar"), lambda a, b, op=_op: apply(op, a, b))
for _op in ("maximum", "minimum"):
    _binary((f"aten.{_op}.default",), lambda a, b, op=_op: apply(op, a, b))


@lowers("aten.gelu.default")
def _gelu(context: Context, name: str, x: Operand, *, approximate: str = "none") -> Operand:
    compute = gelu if approximate == "none" else gelu_tanh
    return context.pointwise(name, lambda v: _named(compute(v), name), x)


@lowers("aten.leaky_relu.default")
def _leaky_relu(context: Context, name: str, x: Operand, slope: float = 0.01) -> Operand:
    def compute(v: Value) -> Value:
        zero = constant(0, v.dtype)
        scaled = apply("mul", v, constant(slope, v.dtype))
        return _named(apply("where", apply("lt", v, zero), scaled, v), name)

    return context.pointwise(name, compute, x)


@lowers("aten.to.dtype", "aten._to_copy.default")
def _to(context: Context, name: str, x: Operand, dtype: Any, *_: Any, **__: Any) -> Operand:
    named = str(dtype).removeprefix("torch.")
    wanted = WIDENED.get(named, named)  # what is computed in; the store narrows
    return context.pointwise(name, lambda v: _named(cast(v, wanted), name), x)


@lowers("aten.detach.default", "aten.alias.default", "aten.contiguous.default")
def _identity(context: Context, name: str, x: Operand, **_: Any) -> Operand:
    return x

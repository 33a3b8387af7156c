"""What every operation of the IR computes in numpy, and the first-order bound of its rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Floats = NDArray[np.float64]


@dataclass
class Numbers:
    """Values and, when asked for, the error bound of each in units of epsilon."""

    value: Array
    error: Floats | None = None

    def at(self, step: int) -> Numbers:
        """The slice of round `step` of a loop."""
        return Numbers(self.value[step], None if self.error is None else self.error[step])


INDEX: dict[str, Callable[..., object]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "//": np.floor_divide, "%": np.mod,
}  # fmt: skip
REDUCE: dict[str, Callable[..., object]] = {
    "sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min,
}  # fmt: skip
#: Per combination, how two stretches of an axis become one: the result, then what bounds its error.
MERGE: dict[str, tuple[Callable[..., object], ...]] = {
    "sum": (np.add, np.add, np.add), "prod": (np.multiply, np.add),
    "max": (np.maximum, np.maximum), "min": (np.minimum, np.maximum),
}  # fmt: skip
SCAN: dict[str, Callable[[Array, int], object]] = {
    "sum": lambda x, axis: np.cumsum(x, axis=axis),
    "prod": lambda x, axis: np.multiply.accumulate(x, axis=axis),
    "max": lambda x, axis: np.maximum.accumulate(x, axis=axis),
    "min": lambda x, axis: np.minimum.accumulate(x, axis=axis),
}


def _erf(x: Array) -> Array:
    import torch

    return np.asarray(torch.erf(torch.from_numpy(np.ascontiguousarray(x))).numpy())


APPLY: dict[str, Callable[..., object]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative,
    "abs": np.abs, "maximum": np.maximum, "minimum": np.minimum, "exp": np.exp, "log": np.log,
    "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "erf": _erf, "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "floor": np.floor, "lt": np.less,
    "le": np.less_equal, "eq": np.equal, "ne": np.not_equal, "and": np.logical_and,
    "or": np.logical_or, "not": np.logical_not, "isnan": np.isnan, "where": np.where,
    "cast": lambda x: x, "pow": np.power, "sin": np.sin, "cos": np.cos, "log1p": np.log1p,
    "expm1": np.expm1, "ceil": np.ceil, "trunc": np.trunc, "round": np.round, "fmod": np.fmod,
}  # fmt: skip

_SLOPE: dict[str, Callable[[Floats, Floats], Floats]] = {
    "exp": lambda x, y: np.abs(y),
    "log": lambda x, y: 1 / np.abs(x),
    "sqrt": lambda x, y: 0.5 / np.abs(y),
    "rsqrt": lambda x, y: 0.5 * np.abs(y / x),
    "erf": lambda x, y: 2 / math.sqrt(math.pi) * np.exp(-x * x),
    "tanh": lambda x, y: 1 - y * y,
    "sigmoid": lambda x, y: y * (1 - y),
    "sin": lambda x, y: np.abs(np.cos(x)),
    "cos": lambda x, y: np.abs(np.sin(x)),
    "log1p": lambda x, y: 1 / np.abs(1 + x),
    "expm1": lambda x, y: np.exp(x),
}
_EXACT = {"maximum", "minimum", "neg", "abs", "cast", "floor", "ceil", "trunc", "round", "fmod"}


def apply_error(operation: str, args: list[Numbers], result: Array) -> Floats:
    """First-order error bound of one operation; its own rounding is |result|."""
    if not np.issubdtype(result.dtype, np.floating):
        return np.zeros(result.shape)
    y = np.abs(result.astype(np.float64))
    y = np.where(np.isfinite(y), y, 0.0)  # what is infinite on purpose, as a mask is, is exact
    bounds = [np.zeros(()) if a.error is None else a.error for a in args]
    values = [a.value.astype(np.float64) for a in args]
    if operation in ("add", "sub"):
        return np.asarray(bounds[0] + bounds[1] + y)
    if operation == "mul":
        return np.asarray(bounds[0] * abs(values[1]) + abs(values[0]) * bounds[1] + y)
    if operation == "div":
        return np.asarray((bounds[0] + y * bounds[1]) / np.abs(values[1]) + y)
    if operation == "pow":  # d(a^b) = a^b (b da / a + log|a| db); pow itself costs |log y| more
        base, power = values[0], values[1]
        slopes = np.nan_to_num(y * np.abs(power / base)), np.nan_to_num(y * np.log(np.abs(base)))
        own = y * (1 + np.abs(np.nan_to_num(np.log(y))))
        return np.asarray(slopes[0] * bounds[0] + np.abs(slopes[1]) * bounds[1] + own)
    if operation == "where":
        return np.asarray(np.where(args[0].value, bounds[1], bounds[2]))
    if operation in _EXACT:
        return np.asarray(np.broadcast_to(sum(bounds[1:], bounds[0]), result.shape))
    slope = np.nan_to_num(_SLOPE[operation](values[0], result.astype(np.float64)), posinf=0.0)
    return np.asarray(slope * bounds[0] + y)

"""Where XLA for CPU computes otherwise than the targets do: dots and sums in interpret mode."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Terms of one sum that are added one after the other.
_IN_ORDER = 8


@contextmanager
def rounded_dots(bits: int) -> Iterator[None]:
    """Dots of default precision round float32 operands to `bits` of mantissa, as targets do.

    The interpreter multiplies in float32 whatever the precision argument: a kernel that forgot it
    would look as exact here as one that did not.
    """
    jax: Any = importlib.import_module("jax")
    core: Any = importlib.import_module("jax._src.lax.lax")
    exact = core.dot_general

    def dot_general(
        a: Any, b: Any, dimension_numbers: Any, precision: Any = None, *rest: Any, **named: Any
    ) -> Any:
        precision_here = precision or jax.config.jax_default_matmul_precision
        each = precision_here if isinstance(precision_here, tuple) else (precision_here,)
        if all(p in (None, "default", jax.lax.Precision.DEFAULT) for p in each):
            a, b = (
                jax.lax.reduce_precision(x, 8, bits) if x.dtype == "float32" else x for x in (a, b)
            )
        return exact(a, b, dimension_numbers, precision, *rest, **named)

    core.dot_general = jax.lax.dot_general = dot_general
    try:
        yield
    finally:
        core.dot_general = jax.lax.dot_general = exact


@functools.cache
def sum_by_halves() -> None:
    """From now on, sums of floating-point numbers on the CPU add one half of them to the other.

    XLA for CPU adds the terms one after the other: of n equal ones each rounding goes the same way,
    and the error grows with n. By halves it grows with log n, as in a GPU's tree of lanes; that a
    TPU sums so is assumed, not measured. A kernel that itself adds in order does so here, too.
    """
    jax: Any = importlib.import_module("jax")
    mlir: Any = importlib.import_module("jax.interpreters.mlir")
    jnp: Any = jax.numpy

    def add(a: Any, b: Any) -> Any:  # by itself: `lax.add` would make a reduce_sum again
        return a + b

    def summed(x: Any, *, axes: tuple[int, ...], **_: Any) -> Any:
        for axis in axes if jnp.issubdtype(x.dtype, jnp.floating) else ():
            while x.shape[axis] > _IN_ORDER:
                half = (x.shape[axis] + 1) // 2
                edges = [(0, 0, 0)] * x.ndim
                edges[axis] = (0, 2 * half - x.shape[axis], 0)
                x = jax.lax.pad(x, jnp.zeros((), x.dtype), edges)
                low = jax.lax.slice_in_dim(x, 0, half, axis=axis)
                x = low + jax.lax.slice_in_dim(x, half, 2 * half, axis=axis)
        return jax.lax.reduce(x, jnp.zeros((), x.dtype), add, axes)

    rule = mlir.lower_fun(summed, multiple_results=False)
    mlir.register_lowering(jax.lax.reduce_sum_p, rule, platform="cpu")

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
ROWS, COLS = 8192, 8192
# Parameters of this variant.
ROW_BLOCK = 8


def sum_reduce_kernel(x, y):
    total = jnp.sum(x[...], axis=1, keepdims=True)
    y[...] = total


def sum_reduce(x: jax.Array) -> jax.Array:
    """The sum over the last axis."""
    expected = (
        ("x", x, (ROWS, COLS), jnp.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")
    block = pl.BlockSpec((ROW_BLOCK, COLS), lambda i: (i, 0))
    column = pl.BlockSpec((ROW_BLOCK, 1), lambda i: (i, 0))
    y = pl.pallas_call(
        sum_reduce_kernel,
        out_shape=jax.ShapeDtypeStruct((ROWS, 1), jnp.float32),
        grid=(pl.cdiv(ROWS, ROW_BLOCK),),
        in_specs=[block],
        out_specs=column,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel",)),
        name="sum_reduce_kernel",
    )(x)
    y = y.reshape(ROWS)
    return y

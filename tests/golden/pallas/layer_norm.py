import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
ROWS, COLS = 8192, 4096
# Parameters of this variant.
ROW_BLOCK = 8


def layer_norm_kernel(x, weight, bias, y):
    x_value = x[...]
    total = jnp.sum(x_value, axis=1, keepdims=True)
    mean = total / COLS
    centered = x_value - mean
    squares = jnp.sum(centered * centered, axis=1, keepdims=True)
    inverse_deviation = jax.lax.rsqrt(squares / COLS + 1e-05)
    y[...] = centered * inverse_deviation * weight[...] + bias[...]


def layer_norm(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """Layer normalisation over the last axis, with weight and bias."""
    expected = (
        ("x", x, (ROWS, COLS), jnp.float32),
        ("weight", weight, (COLS,), jnp.float32),
        ("bias", bias, (COLS,), jnp.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")
    block = pl.BlockSpec((ROW_BLOCK, COLS), lambda i: (i, 0))
    line = pl.BlockSpec((1, COLS), lambda i: (0, 0))
    y = pl.pallas_call(
        layer_norm_kernel,
        out_shape=jax.ShapeDtypeStruct((ROWS, COLS), jnp.float32),
        grid=(pl.cdiv(ROWS, ROW_BLOCK),),
        in_specs=[block, line, line],
        out_specs=block,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel",)),
        name="layer_norm_kernel",
    )(x, weight.reshape(1, COLS), bias.reshape(1, COLS))
    return y

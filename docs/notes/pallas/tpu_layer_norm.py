"""layer_norm over the last axis, float32: x[4096, 1000], weight, bias[1000] -> y[4096, 1000]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
ROWS, COLS = 4096, 1000
EPSILON = 1e-5
# Parameters of this variant: whole rows, ROW_BLOCK of them a program.
ROW_BLOCK = 128


def layer_norm_kernel(x, weight, bias, y):
    value = x[...]
    mean = jnp.sum(value, axis=1, keepdims=True) / COLS
    centred = value - mean
    variance = jnp.sum(centred * centred, axis=1, keepdims=True) / COLS
    y[...] = centred / jnp.sqrt(variance + EPSILON) * weight[...] + bias[...]


def layer_norm(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """Layer norm of a float32 array of shape (ROWS, COLS)."""
    rows = pl.BlockSpec((ROW_BLOCK, COLS), lambda i: (i, 0))
    shared = pl.BlockSpec((1, COLS), lambda i: (0, 0))
    return pl.pallas_call(
        layer_norm_kernel,
        out_shape=jax.ShapeDtypeStruct((ROWS, COLS), jnp.float32),
        grid=(pl.cdiv(ROWS, ROW_BLOCK),),
        in_specs=[rows, shared, shared],
        out_specs=rows,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel",)),
        name="layer_norm_kernel",
    )(x, weight.reshape(1, COLS), bias.reshape(1, COLS))

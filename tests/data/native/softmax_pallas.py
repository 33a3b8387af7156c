# SPDX-License-Identifier: Apache-2.0
# mkgen
# task = "softmax"
# backend = "pallas"
# entry = "softmax"
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

ROWS_OF_A_BLOCK = 8


def softmax_kernel(x, y):
    """A block of whole rows at a time."""
    logit = x[...]
    weight = jnp.exp(logit - jnp.max(logit, axis=1, keepdims=True))
    y[...] = weight / jnp.sum(weight, axis=1, keepdims=True)


def softmax(x: jax.Array) -> jax.Array:
    """Softmax over the last axis."""
    block = pl.BlockSpec((ROWS_OF_A_BLOCK, COLS), lambda row: (row, 0))
    return pl.pallas_call(
        softmax_kernel,
        out_shape=jax.ShapeDtypeStruct((ROWS, COLS), jnp.float32),
        grid=(pl.cdiv(ROWS, ROWS_OF_A_BLOCK),),
        in_specs=[block],
        out_specs=block,
        name="softmax_kernel",
    )(x)

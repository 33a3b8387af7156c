"""softmax over the last axis, float32: x[4096, 1000] -> y[4096, 1000]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

# Sizes. Everything below follows from them.
ROWS, COLS = 4096, 1000
# Parameters of this variant: one program a row; BLOCK is the power of two that holds it.
BLOCK = 1 << (COLS - 1).bit_length()
WARPS = 4


def softmax_kernel(x, y):
    row = pl.program_id(0)
    col = jnp.arange(BLOCK)
    inside = col < COLS
    logit = plgpu.load(x.at[row, pl.ds(0, BLOCK)], mask=inside, other=-jnp.inf)
    weight = jnp.exp(logit - jnp.max(logit))
    plgpu.store(y.at[row, pl.ds(0, BLOCK)], weight / jnp.sum(weight), mask=inside)


def softmax(x: jax.Array) -> jax.Array:
    """Softmax of a float32 array of shape (ROWS, COLS)."""
    return pl.pallas_call(
        softmax_kernel,
        out_shape=jax.ShapeDtypeStruct((ROWS, COLS), jnp.float32),
        grid=(ROWS,),
        compiler_params=plgpu.CompilerParams(num_warps=WARPS),
        name="softmax_kernel",
    )(x)

"""layer_norm over the last axis, float32: x[4096, 1000], weight, bias[1000] -> y[4096, 1000]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

# Sizes. Everything below follows from them.
ROWS, COLS = 4096, 1000
EPSILON = 1e-5
# Parameters of this variant: one program a row; BLOCK is the power of two that holds it.
BLOCK = 1 << (COLS - 1).bit_length()
WARPS = 4


def layer_norm_kernel(x, weight, bias, y):
    row = pl.program_id(0)
    col = jnp.arange(BLOCK)
    inside = col < COLS
    value = plgpu.load(x.at[row, pl.ds(0, BLOCK)], mask=inside, other=0.0)
    mean = jnp.sum(value) / COLS
    centred = jnp.where(inside, value - mean, 0.0)
    variance = jnp.sum(centred * centred) / COLS
    scale = plgpu.load(weight.at[pl.ds(0, BLOCK)], mask=inside, other=0.0)
    shift = plgpu.load(bias.at[pl.ds(0, BLOCK)], mask=inside, other=0.0)
    result = centred / jnp.sqrt(variance + EPSILON) * scale + shift
    plgpu.store(y.at[row, pl.ds(0, BLOCK)], result, mask=inside)


def layer_norm(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """Layer norm of a float32 array of shape (ROWS, COLS)."""
    return pl.pallas_call(
        layer_norm_kernel,
        out_shape=jax.ShapeDtypeStruct((ROWS, COLS), jnp.float32),
        grid=(ROWS,),
        compiler_params=plgpu.CompilerParams(num_warps=WARPS),
        name="layer_norm_kernel",
    )(x, weight, bias)

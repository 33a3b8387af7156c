"""gelu(x + bias), exact (erf) form, float32: x[4096, 1000], bias[1000] -> y[4096, 1000]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
ROWS, COLS = 4096, 1000
# Parameters of this variant.
ROW_BLOCK, COL_BLOCK = 256, 512


def gelu_kernel(x, bias, y):
    value = x[...] + bias[...]
    y[...] = 0.5 * value * (1.0 + jax.lax.erf(value * 0.7071067811865476))


def gelu(x: jax.Array, bias: jax.Array) -> jax.Array:
    """gelu(x + bias) of float32 arrays of shapes (ROWS, COLS) and (COLS,)."""
    tile = pl.BlockSpec((ROW_BLOCK, COL_BLOCK), lambda i, j: (i, j))
    return pl.pallas_call(
        gelu_kernel,
        out_shape=jax.ShapeDtypeStruct((ROWS, COLS), jnp.float32),
        grid=(pl.cdiv(ROWS, ROW_BLOCK), pl.cdiv(COLS, COL_BLOCK)),
        in_specs=[tile, pl.BlockSpec((1, COL_BLOCK), lambda i, j: (0, j))],
        out_specs=tile,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel")),
        name="gelu_kernel",
    )(x, bias.reshape(1, COLS))

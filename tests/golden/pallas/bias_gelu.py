import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
ROWS, COLS = 8192, 4096
# Parameters of this variant.
ROW_BLOCK, COL_BLOCK = 8, 128


def bias_gelu_kernel(x, bias, y):
    add = x[...] + bias[...]
    y[...] = 0.5 * add * (1.0 + jax.lax.erf(add * 0.70710677))


def bias_gelu(x: jax.Array, bias: jax.Array) -> jax.Array:
    """gelu(x + bias), the bias broadcast over the rows."""
    expected = (
        ("x", x, (ROWS, COLS), jnp.float32),
        ("bias", bias, (COLS,), jnp.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")
    tile = pl.BlockSpec((ROW_BLOCK, COL_BLOCK), lambda i, j: (i, j))
    line = pl.BlockSpec((1, COL_BLOCK), lambda i, j: (0, j))
    y = pl.pallas_call(
        bias_gelu_kernel,
        out_shape=jax.ShapeDtypeStruct((ROWS, COLS), jnp.float32),
        grid=(pl.cdiv(ROWS, ROW_BLOCK), pl.cdiv(COLS, COL_BLOCK)),
        in_specs=[tile, line],
        out_specs=tile,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel")),
        name="bias_gelu_kernel",
    )(x, bias.reshape(1, COLS))
    return y

"""max_pool2d 3x3, stride 2, padding 1, float32: x[8, 64, 112, 112] -> y[8, 64, 56, 56]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
BATCH, CHANNELS, HEIGHT, WIDTH = 8, 64, 112, 112
OUT_HEIGHT, OUT_WIDTH = 56, 56
TAPS_Y, TAPS_X, STRIDE, PADDING = 3, 3, 2, 1
PADDED_WIDTH = WIDTH + 2 * PADDING


def max_pool2d_kernel(*refs):
    *rows, y = refs  # TAPS_Y padded input rows (PADDED_WIDTH, CHANNELS)
    highest = rows[0][pl.ds(0, OUT_WIDTH, STRIDE), :]
    for row in rows:
        for tap_x in range(TAPS_X):
            highest = jnp.maximum(highest, row[pl.ds(tap_x, OUT_WIDTH, STRIDE), :])
    y[...] = highest


def max_pool2d(x: jax.Array) -> jax.Array:
    """Max pooling of a float32 array in PyTorch's NCHW layout."""
    edge = (PADDING, PADDING)
    padded = jnp.pad(
        x.transpose(0, 2, 3, 1), ((0, 0), edge, edge, (0, 0)), constant_values=-jnp.inf
    )

    def row(tap_y):
        return pl.BlockSpec(
            (None, None, PADDED_WIDTH, CHANNELS), lambda n, p: (n, p * STRIDE + tap_y, 0, 0)
        )

    y = pl.pallas_call(
        max_pool2d_kernel,
        out_shape=jax.ShapeDtypeStruct((BATCH, OUT_HEIGHT, OUT_WIDTH, CHANNELS), jnp.float32),
        grid=(BATCH, OUT_HEIGHT),
        in_specs=[row(tap_y) for tap_y in range(TAPS_Y)],
        out_specs=pl.BlockSpec((None, None, OUT_WIDTH, CHANNELS), lambda n, p: (n, p, 0, 0)),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel")),
        name="max_pool2d_kernel",
    )(*[padded] * TAPS_Y)
    return y.transpose(0, 3, 1, 2)

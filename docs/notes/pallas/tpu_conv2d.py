"""conv2d, float32: x[8, 64, 56, 56], weight[128, 64, 3, 3], bias[128] -> y[8, 128, 56, 56]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
BATCH, CHANNELS, HEIGHT, WIDTH = 8, 64, 56, 56
FILTERS, OUT_HEIGHT, OUT_WIDTH = 128, 56, 56
TAPS_Y, TAPS_X, STRIDE, PADDING = 3, 3, 1, 1
PADDED_WIDTH = WIDTH + 2 * PADDING
# Parameters of this variant: a program makes one output row, all columns, FILTER_BLOCK filters.
FILTER_BLOCK = 128


def conv2d_kernel(*refs):
    *rows, weight, bias, y = refs  # TAPS_Y padded input rows (PADDED_WIDTH, CHANNELS)
    total = jnp.zeros((OUT_WIDTH, FILTER_BLOCK), jnp.float32)
    for tap_y in range(TAPS_Y):
        for tap_x in range(TAPS_X):
            total += jnp.dot(
                rows[tap_y][pl.ds(tap_x, OUT_WIDTH, STRIDE), :],
                weight[tap_y, tap_x],
                precision=jax.lax.Precision.HIGHEST,
                preferred_element_type=jnp.float32,
            )
    y[...] = total + bias[...]


def conv2d(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """Convolution of float32 arrays in PyTorch's layout: NCHW, and KCRS for the weight."""
    edge = (PADDING, PADDING)
    padded = jnp.pad(x.transpose(0, 2, 3, 1), ((0, 0), edge, edge, (0, 0)))

    def row(tap_y):
        # The same array once for each tap row: blocks of one row may overlap, larger ones may not.
        return pl.BlockSpec(
            (None, None, PADDED_WIDTH, CHANNELS), lambda n, p, f: (n, p * STRIDE + tap_y, 0, 0)
        )

    y = pl.pallas_call(
        conv2d_kernel,
        out_shape=jax.ShapeDtypeStruct((BATCH, OUT_HEIGHT, OUT_WIDTH, FILTERS), jnp.float32),
        grid=(BATCH, OUT_HEIGHT, pl.cdiv(FILTERS, FILTER_BLOCK)),
        in_specs=[
            *(row(tap_y) for tap_y in range(TAPS_Y)),
            pl.BlockSpec((TAPS_Y, TAPS_X, CHANNELS, FILTER_BLOCK), lambda n, p, f: (0, 0, 0, f)),
            pl.BlockSpec((1, FILTER_BLOCK), lambda n, p, f: (0, f)),
        ],
        out_specs=pl.BlockSpec((None, None, OUT_WIDTH, FILTER_BLOCK), lambda n, p, f: (n, p, 0, f)),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "parallel")
        ),
        name="conv2d_kernel",
    )(*[padded] * TAPS_Y, weight.transpose(2, 3, 1, 0), bias.reshape(1, FILTERS))
    return y.transpose(0, 3, 1, 2)

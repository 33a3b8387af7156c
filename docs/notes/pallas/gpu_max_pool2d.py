"""max_pool2d 3x3, stride 2, padding 1, float32: x[8, 64, 112, 112] -> y[8, 64, 56, 56]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

# Sizes. Everything below follows from them.
BATCH, CHANNELS, HEIGHT, WIDTH = 8, 64, 112, 112
OUT_HEIGHT, OUT_WIDTH = 56, 56
TAPS_Y, TAPS_X, STRIDE, PADDING = 3, 3, 2, 1
PADDED_WIDTH = WIDTH + 2 * PADDING
# Parameters of this variant: a program makes one output point, TILE_C channels.
TILE_C, WARPS = 64, 1


def max_pool2d_kernel(x, y):
    image, out_y = pl.program_id(0) // OUT_HEIGHT, pl.program_id(0) % OUT_HEIGHT
    out_x, first_c = pl.program_id(1), pl.program_id(2) * TILE_C
    channels = pl.ds(first_c, TILE_C)
    inside = first_c + jnp.arange(TILE_C) < CHANNELS
    highest = jnp.full(TILE_C, -jnp.inf, jnp.float32)
    for tap_y in range(TAPS_Y):
        for tap_x in range(TAPS_X):
            points = x.at[image, out_y * STRIDE + tap_y, out_x * STRIDE + tap_x, channels]
            highest = jnp.maximum(highest, plgpu.load(points, mask=inside, other=-jnp.inf))
    plgpu.store(y.at[image, out_y, out_x, channels], highest, mask=inside)


def max_pool2d(x: jax.Array) -> jax.Array:
    """Max pooling of a float32 array in PyTorch's NCHW layout."""
    edge = (PADDING, PADDING)
    padded = jnp.pad(
        x.transpose(0, 2, 3, 1), ((0, 0), edge, edge, (0, 0)), constant_values=-jnp.inf
    )
    y = pl.pallas_call(
        max_pool2d_kernel,
        out_shape=jax.ShapeDtypeStruct((BATCH, OUT_HEIGHT, OUT_WIDTH, CHANNELS), jnp.float32),
        grid=(BATCH * OUT_HEIGHT, OUT_WIDTH, pl.cdiv(CHANNELS, TILE_C)),
        compiler_params=plgpu.CompilerParams(num_warps=WARPS),
        name="max_pool2d_kernel",
    )(padded)
    return y.transpose(0, 3, 1, 2)

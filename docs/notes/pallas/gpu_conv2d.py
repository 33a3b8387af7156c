"""conv2d, float32: x[8, 64, 56, 56], weight[128, 64, 3, 3], bias[128] -> y[8, 128, 56, 56]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

# Sizes. Everything below follows from them.
BATCH, CHANNELS, HEIGHT, WIDTH = 8, 64, 56, 56
FILTERS, OUT_HEIGHT, OUT_WIDTH = 128, 56, 56
TAPS_Y, TAPS_X, STRIDE, PADDING = 3, 3, 1, 1
PADDED_HEIGHT, PADDED_WIDTH = HEIGHT + 2 * PADDING, WIDTH + 2 * PADDING
# Parameters of this variant: a program makes TILE_W columns of one output row, TILE_F filters.
TILE_W, TILE_F, TILE_C, WARPS = 16, 64, 32, 4


def conv2d_kernel(x, weight, bias, y):
    image, out_y = pl.program_id(0) // OUT_HEIGHT, pl.program_id(0) % OUT_HEIGHT
    first_w, first_f = pl.program_id(1) * TILE_W, pl.program_id(2) * TILE_F
    w, f = first_w + jnp.arange(TILE_W), first_f + jnp.arange(TILE_F)

    # Columns that no output needs are read again at the row's end: they are not stored.
    col = jnp.minimum(w, OUT_WIDTH - 1) * STRIDE
    total = jnp.zeros((TILE_W, TILE_F), jnp.float32)
    for tap_y in range(TAPS_Y):
        for tap_x in range(TAPS_X):

            def add(step, total, tap_y=tap_y, tap_x=tap_x):
                c = step * TILE_C + jnp.arange(TILE_C)
                row = (image * PADDED_HEIGHT + out_y * STRIDE + tap_y) * PADDED_WIDTH
                channel = jnp.minimum(c, CHANNELS - 1)  # interpret mode reads masked points too
                points = x.at[(row + col + tap_x)[:, None], channel[None, :]]
                left = plgpu.load(points, mask=(c < CHANNELS)[None, :], other=0.0)
                tap = (tap_y * TAPS_X + tap_x) * CHANNELS
                taps = weight.at[pl.ds(tap + step * TILE_C, TILE_C), pl.ds(first_f, TILE_F)]
                mask = (c < CHANNELS)[:, None] & (f < FILTERS)[None, :]
                right = plgpu.load(taps, mask=mask, other=0.0)
                return total + jnp.dot(left, right, precision=jax.lax.Precision.HIGHEST)

            total = jax.lax.fori_loop(0, pl.cdiv(CHANNELS, TILE_C), add, total)
    total += plgpu.load(bias.at[pl.ds(first_f, TILE_F)], mask=f < FILTERS, other=0.0)[None, :]
    tile = y.at[image, out_y, pl.ds(first_w, TILE_W), pl.ds(first_f, TILE_F)]
    plgpu.store(tile, total, mask=(w < OUT_WIDTH)[:, None] & (f < FILTERS)[None, :])


def conv2d(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """Convolution of float32 arrays in PyTorch's layout: NCHW, and KCRS for the weight."""
    edge = (PADDING, PADDING)
    padded = jnp.pad(x.transpose(0, 2, 3, 1), ((0, 0), edge, edge, (0, 0)))
    y = pl.pallas_call(
        conv2d_kernel,
        out_shape=jax.ShapeDtypeStruct((BATCH, OUT_HEIGHT, OUT_WIDTH, FILTERS), jnp.float32),
        grid=(BATCH * OUT_HEIGHT, pl.cdiv(OUT_WIDTH, TILE_W), pl.cdiv(FILTERS, TILE_F)),
        compiler_params=plgpu.CompilerParams(num_warps=WARPS),
        name="conv2d_kernel",
    )(padded.reshape(-1, CHANNELS), weight.transpose(2, 3, 1, 0).reshape(-1, FILTERS), bias)
    return y.transpose(0, 3, 1, 2)

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
N, C, H, W, R, S = 32, 128, 112, 112, 3, 3
PAD_H, PAD_W, P, Q = 1, 1, 112, 112
# Parameters of this variant.
TILE = 256


def depthwise_conv2d_kernel(x, weight, y, total):
    p = pl.program_id(0)
    q = pl.program_id(1)
    r = pl.program_id(4)
    s = pl.program_id(5)

    @pl.when((r == 0) & (s == 0))
    def _():
        total[...] = jnp.full_like(total, 0.0)

    h = p + r - PAD_H
    w = q + s - PAD_W
    x_value = jnp.where((0 <= h) & (h < H) & (0 <= w) & (w < W), x[...], 0.0)
    weight_value = weight[...]
    total[...] = total[...] + x_value * weight_value

    @pl.when((r == R - 1) & (s == S - 1))
    def _():
        y[...] = total[...]


def depthwise_conv2d(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Depthwise 2-D convolution: each channel by its own 3 by 3 filter, padding 1."""
    expected = (
        ("x", x, (N, C, H, W), jnp.float32),
        ("weight", weight, (C, 1, R, S), jnp.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")

    def x_block(p, q, n_block, c_block, r, s):
        return (
            jnp.clip(p + r - PAD_H, 0, H - 1), jnp.clip(q + s - PAD_W, 0, W - 1), n_block, c_block
        )

    def weight_block(p, q, n_block, c_block, r, s):
        return (0, r, s, 0, c_block)

    def y_block(p, q, n_block, c_block, r, s):
        return (p, q, n_block, c_block)

    y = pl.pallas_call(
        depthwise_conv2d_kernel,
        out_shape=jax.ShapeDtypeStruct((P, Q, N, C), jnp.float32),
        grid=(P, Q, pl.cdiv(N, min(N, TILE)), pl.cdiv(C, min(C, TILE)), R, S),
        in_specs=[
            pl.BlockSpec((None, None, min(N, TILE), min(C, TILE)), x_block),
            pl.BlockSpec((None, None, None, 1, min(C, TILE)), weight_block),
        ],
        out_specs=pl.BlockSpec((None, None, min(N, TILE), min(C, TILE)), y_block),
        scratch_shapes=[pltpu.VMEM((min(N, TILE), min(C, TILE)), jnp.float32)],
        name="depthwise_conv2d_kernel",
    )(x.transpose(2, 3, 0, 1), weight.transpose(1, 2, 3, 0).reshape(1, R, S, 1, C))
    y = y.transpose(2, 3, 0, 1)
    return y

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
N, C, H, W, WINDOW_H, WINDOW_W = 32, 64, 112, 112, 3, 3
STRIDE_H, STRIDE_W, PAD_H, PAD_W, P, Q = 2, 2, 1, 1, 56, 56


def max_pool2d_kernel(*refs):
    # One padded input row (width, channels) for each tap row of the window.
    *lines, y = refs
    best = jnp.full((Q, C), -jnp.inf, jnp.float32)
    for r in range(WINDOW_H):
        for s in range(WINDOW_W):
            tap = lines[r][pl.ds(s, Q, STRIDE_W), :]
            best = jnp.maximum(best, tap)
    y[...] = best


def max_pool2d(x: jax.Array) -> jax.Array:
    """Max pooling, 3 by 3, stride 2, padding 1."""
    expected = (
        ("x", x, (N, C, H, W), jnp.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")
    # Channels last, so that they lie along the lanes; the window never leaves the padded rows.
    padded = jnp.pad(
        x.transpose(0, 2, 3, 1),
        ((0, 0), (PAD_H, PAD_H), (PAD_W, PAD_W), (0, 0)),
        constant_values=-jnp.inf,
    )

    def line(r):
        # The same array once for each tap row: blocks of one row may overlap, larger ones may not.
        block = (None, None, padded.shape[2], C)
        return pl.BlockSpec(block, lambda n, p: (n, p * STRIDE_H + r, 0, 0))

    y = pl.pallas_call(
        max_pool2d_kernel,
        out_shape=jax.ShapeDtypeStruct((N, P, Q, C), jnp.float32),
        grid=(N, P),
        in_specs=[line(r) for r in range(WINDOW_H)],
        out_specs=pl.BlockSpec((None, None, Q, C), lambda n, p: (n, p, 0, 0)),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel")),
        name="max_pool2d_kernel",
    )(*[padded] * WINDOW_H)
    y = y.transpose(0, 3, 1, 2)
    return y

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
N, C, H, W, K, R = 32, 64, 56, 56, 64, 3
S, PAD_H, PAD_W, P, Q = 3, 1, 1, 56, 56
# Parameters of this variant.
FILTER_BLOCK = 128


def conv2d_kernel(*refs):
    # One padded input row (width, channels) for each tap row of the window.
    *lines, weight, y = refs
    total = jnp.zeros((Q, FILTER_BLOCK), jnp.float32)
    for r in range(R):
        for s in range(S):
            total += jnp.dot(
                lines[r][pl.ds(s, Q, 1), :],
                weight[r, s],
                precision=jax.lax.Precision.HIGHEST,
                preferred_element_type=jnp.float32,
            )
    y[...] = total


def conv2d(x: jax.Array, weight: jax.Array) -> jax.Array:
    """2-D convolution, 3 by 3, padding 1."""
    expected = (
        ("x", x, (N, C, H, W), jnp.float32),
        ("weight", weight, (K, C, R, S), jnp.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")
    # Channels last, so that they lie along the lanes; the window never leaves the padded rows.
    padded = jnp.pad(
        x.transpose(0, 2, 3, 1), ((0, 0), (PAD_H, PAD_H), (PAD_W, PAD_W), (0, 0))
    )

    def line(r):
        # The same array once for each tap row: blocks of one row may overlap, larger ones may not.
        block = (None, None, padded.shape[2], C)
        return pl.BlockSpec(block, lambda n, p, f: (n, p + r, 0, 0))

    y = pl.pallas_call(
        conv2d_kernel,
        out_shape=jax.ShapeDtypeStruct((N, P, Q, K), jnp.float32),
        grid=(N, P, pl.cdiv(K, FILTER_BLOCK)),
        in_specs=[
            *(line(r) for r in range(R)),
            pl.BlockSpec((R, S, C, FILTER_BLOCK), lambda n, p, f: (0, 0, 0, f)),
        ],
        out_specs=pl.BlockSpec(
            (None, None, Q, FILTER_BLOCK), lambda n, p, f: (n, p, 0, f)
        ),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "parallel")
        ),
        name="conv2d_kernel",
    )(*[padded] * R, weight.transpose(2, 3, 1, 0))
    y = y.transpose(0, 3, 1, 2)
    return y

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
N, C, D, H, W, K = 4, 64, 16, 32, 32, 32
T, R, S, STRIDE_D, STRIDE_H, STRIDE_W = 3, 3, 3, 2, 2, 2
PAD_D, PAD_H, PAD_W, O, P, Q = 1, 1, 1, 32, 64, 64
# Parameters of this variant.
TILE = 256


def conv_transpose3d_kernel(x, weight, y, total):
    o = pl.program_id(0)
    p = pl.program_id(1)
    q = pl.program_id(2)
    t = pl.program_id(5)
    r = pl.program_id(6)
    s = pl.program_id(7)
    c_block = pl.program_id(8)

    @pl.when((t == 0) & (r == 0) & (s == 0) & (c_block == 0))
    def _():
        total[...] = jnp.full_like(total, 0.0)

    d = (o + PAD_D - t) // STRIDE_D
    position = (o + PAD_D - t) % STRIDE_D
    h = (p + PAD_H - r) // STRIDE_H
    position2 = (p + PAD_H - r) % STRIDE_H
    w = (q + PAD_W - s) // STRIDE_W
    position3 = (q + PAD_W - s) % STRIDE_W
    x_value = jnp.where(
        (0 <= d) & (d < D) & (0 <= position) & (position < 1) & (0 <= h) & (h < H) & (
            0 <= position2
        ) & (position2 < 1) & (0 <= w) & (w < W) & (0 <= position3) & (position3 < 1),
        x[...],
        0.0,
    )
    c_across = c_block * min(C, TILE) + jax.lax.broadcasted_iota(jnp.int32, (1, min(C, TILE)), 1)
    weight_value = weight[...]
    c_down = c_block * min(C, TILE) + jax.lax.broadcasted_iota(jnp.int32, (min(C, TILE), 1), 0)
    product = jnp.dot(
        jnp.where(c_across < C, x_value, 0.0),
        jnp.where(c_down < C, weight_value, 0.0),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )
    total[...] = total[...] + product

    @pl.when((t == T - 1) & (r == R - 1) & (s == S - 1) & (c_block == pl.cdiv(C, min(C, TILE)) - 1))
    def _():
        y[...] = total[...]


def conv_transpose3d(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Transposed 3-D convolution, 3 by 3 by 3, stride 2, padding 1, output padding 1."""
    expected = (
        ("x", x, (N, C, D, H, W), jnp.float32),
        ("weight", weight, (C, K, T, R, S), jnp.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")

    def x_block(o, p, q, n_block, k_block, t, r, s, c_block):
        return (
            jnp.clip((o + PAD_D - t) // STRIDE_D, 0, D - 1),
            jnp.clip((p + PAD_H - r) // STRIDE_H, 0, H - 1),
            jnp.clip((q + PAD_W - s) // STRIDE_W, 0, W - 1),
            n_block,
            c_block,
        )

    def weight_block(o, p, q, n_block, k_block, t, r, s, c_block):
        return (t, r, s, c_block, k_block)

    def y_block(o, p, q, n_block, k_block, t, r, s, c_block):
        return (o, p, q, n_block, k_block)

    y = pl.pallas_call(
        conv_transpose3d_kernel,
        out_shape=jax.ShapeDtypeStruct((O, P, Q, N, K), jnp.float32),
        grid=(
            O,
            P,
            Q,
            pl.cdiv(N, min(N, TILE)),
            pl.cdiv(K, min(K, TILE)),
            T,
            R,
            S,
            pl.cdiv(C, min(C, TILE)),
        ),
        in_specs=[
            pl.BlockSpec((None, None, None, min(N, TILE), min(C, TILE)), x_block),
            pl.BlockSpec((None, None, None, min(C, TILE), min(K, TILE)), weight_block),
        ],
        out_specs=pl.BlockSpec((None, None, None, min(N, TILE), min(K, TILE)), y_block),
        scratch_shapes=[pltpu.VMEM((min(N, TILE), min(K, TILE)), jnp.float32)],
        name="conv_transpose3d_kernel",
    )(x.transpose(2, 3, 4, 0, 1), weight.transpose(2, 3, 4, 0, 1))
    y = y.transpose(3, 4, 0, 1, 2)
    return y

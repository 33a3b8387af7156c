import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
N, C, H, W, K, R = 32, 256, 56, 56, 256, 3
S, PAD_H, PAD_W, P, Q, GROUPS = 3, 1, 1, 56, 56, 4
GROUP_C, GROUP_K = 64, 64
# Parameters of this variant.
TILE = 256


def conv2d_kernel(x, weight, conv2d, total):
    p = pl.program_id(1)
    q = pl.program_id(2)
    r = pl.program_id(5)
    s = pl.program_id(6)
    c_block = pl.program_id(7)

    @pl.when((r == 0) & (s == 0) & (c_block == 0))
    def _():
        total[...] = jnp.full_like(total, 0.0)

    h = p + r - PAD_H
    w = q + s - PAD_W
    x_value = jnp.where((0 <= h) & (h < H) & (0 <= w) & (w < W), x[...], 0.0)
    c_across = c_block * min(GROUP_C, TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (1, min(GROUP_C, TILE)), 1
    )
    weight_value = weight[...]
    c_down = c_block * min(GROUP_C, TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(GROUP_C, TILE), 1), 0
    )
    product = jnp.dot(
        jnp.where(c_across < GROUP_C, x_value, 0.0),
        jnp.where(c_down < GROUP_C, weight_value, 0.0),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )
    total[...] = total[...] + product

    @pl.when((r == R - 1) & (s == S - 1) & (c_block == pl.cdiv(GROUP_C, min(GROUP_C, TILE)) - 1))
    def _():
        conv2d[...] = total[...]


def grouped_conv2d_kernel(conv2d, bias, y):
    conv2d_value = conv2d[...]
    bias_value = bias[...]
    y[...] = conv2d_value + bias_value


def grouped_conv2d(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """2-D convolution in four groups, 3 by 3, padding 1, with bias."""
    expected = (
        ("x", x, (N, C, H, W), jnp.float32),
        ("weight", weight, (K, C // 4, R, S), jnp.float32),
        ("bias", bias, (K,), jnp.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")

    def x_block(g, p, q, n_block, k_block, r, s, c_block):
        return (
            g,
            jnp.clip(p + r - PAD_H, 0, H - 1),
            jnp.clip(q + s - PAD_W, 0, W - 1),
            n_block,
            c_block,
        )

    def weight_block(g, p, q, n_block, k_block, r, s, c_block):
        return (g, r, s, c_block, k_block)

    def conv2d_block(g, p, q, n_block, k_block, r, s, c_block):
        return (g, p, q, n_block, k_block)

    conv2d = pl.pallas_call(
        conv2d_kernel,
        out_shape=jax.ShapeDtypeStruct((GROUPS, P, Q, N, GROUP_K), jnp.float32),
        grid=(
            GROUPS,
            P,
            Q,
            pl.cdiv(N, min(N, TILE)),
            pl.cdiv(GROUP_K, min(GROUP_K, TILE)),
            R,
            S,
            pl.cdiv(GROUP_C, min(GROUP_C, TILE)),
        ),
        in_specs=[
            pl.BlockSpec((None, None, None, min(N, TILE), min(GROUP_C, TILE)), x_block),
            pl.BlockSpec((None, None, None, min(GROUP_C, TILE), min(GROUP_K, TILE)), weight_block),
        ],
        out_specs=pl.BlockSpec((None, None, None, min(N, TILE), min(GROUP_K, TILE)), conv2d_block),
        scratch_shapes=[pltpu.VMEM((min(N, TILE), min(GROUP_K, TILE)), jnp.float32)],
        name="conv2d_kernel",
    )(
        x.reshape(N, GROUPS, GROUP_C, H, W).transpose(1, 3, 4, 0, 2),
        weight.reshape(GROUPS, GROUP_K, GROUP_C, R, S).transpose(0, 3, 4, 2, 1),
    )
    conv2d = conv2d.transpose(3, 0, 4, 1, 2)

    y = pl.pallas_call(
        grouped_conv2d_kernel,
        out_shape=jax.ShapeDtypeStruct((N * P * Q, GROUPS * GROUP_K), jnp.float32),
        grid=(
            pl.cdiv(N * P * Q, min(N * P * Q, TILE)),
            pl.cdiv(GROUPS * GROUP_K, min(GROUPS * GROUP_K, TILE)),
        ),
        in_specs=[
            pl.BlockSpec(
                (min(N * P * Q, TILE), min(GROUPS * GROUP_K, TILE)),
                lambda n_block, g_block: (n_block, g_block),
            ),
            pl.BlockSpec((1, min(GROUPS * GROUP_K, TILE)), lambda n_block, g_block: (0, g_block)),
        ],
        out_specs=pl.BlockSpec(
            (min(N * P * Q, TILE), min(GROUPS * GROUP_K, TILE)),
            lambda n_block, g_block: (n_block, g_block),
        ),
        name="grouped_conv2d_kernel",
    )(
        conv2d.transpose(0, 3, 4, 1, 2).reshape(N * P * Q, GROUPS * GROUP_K),
        bias.reshape(1, GROUPS * GROUP_K),
    )
    y = y.reshape(N, P, Q, GROUPS, GROUP_K).transpose(0, 3, 4, 1, 2).reshape((N, K, P, Q))
    return y

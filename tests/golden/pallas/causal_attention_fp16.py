import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
B, H, T, D = 4, 16, 1024, 64
# Parameters of this variant.
SCORES_TILE = 256
WEIGHTS_TILE = 256
ATTENTION_TILE = 256


def scores_kernel(q, k, scores, total):
    d_block = pl.program_id(4)

    @pl.when(d_block == 0)
    def _():
        total[...] = jnp.full_like(total, 0.0)

    q_value = q[...]
    d_across = d_block * min(D, SCORES_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (1, min(D, SCORES_TILE)), 1
    )
    k_value = k[...]
    d_down = d_block * min(D, SCORES_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(D, SCORES_TILE), 1), 0
    )
    product = jnp.dot(
        jnp.where(d_across < D, q_value, 0.0),
        jnp.where(d_down < D, k_value, 0.0),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )
    total[...] = total[...] + product

    @pl.when(d_block == pl.cdiv(D, min(D, SCORES_TILE)) - 1)
    def _():
        scores[...] = total[...]


def highest_kernel(scores, highest, best):
    t_block = pl.program_id(1)
    tt_block = pl.program_id(2)

    @pl.when(tt_block == 0)
    def _():
        best[...] = jnp.full_like(best, -jnp.inf)

    tt = tt_block * min(T, WEIGHTS_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(T, WEIGHTS_TILE), 1), 0
    )
    t = t_block * min(T, WEIGHTS_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (1, min(T, WEIGHTS_TILE)), 1
    )
    scores_value = scores[...]
    best[...] = jnp.maximum(
        best[...],
        jnp.where(
            tt < T, jnp.where(tt <= t, scores_value * jax.lax.rsqrt(float(D)), -jnp.inf), -jnp.inf
        ),
    )

    @pl.when(tt_block == pl.cdiv(T, min(T, WEIGHTS_TILE)) - 1)
    def _():
        highest[...] = jnp.max(best[...], axis=0, keepdims=True)


def total_kernel(scores, highest, total, total2):
    t_block = pl.program_id(1)
    tt_block = pl.program_id(2)

    @pl.when(tt_block == 0)
    def _():
        total2[...] = jnp.full_like(total2, 0.0)

    tt = tt_block * min(T, WEIGHTS_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(T, WEIGHTS_TILE), 1), 0
    )
    t = t_block * min(T, WEIGHTS_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (1, min(T, WEIGHTS_TILE)), 1
    )
    scores_value = scores[...]
    highest_value = highest[...]
    masked = jnp.where(tt <= t, scores_value * jax.lax.rsqrt(float(D)), -jnp.inf)
    total2[...] = total2[...] + jnp.where(tt < T, jnp.exp(masked - highest_value), 0.0)

    @pl.when(tt_block == pl.cdiv(T, min(T, WEIGHTS_TILE)) - 1)
    def _():
        total[...] = jnp.sum(total2[...], axis=0, keepdims=True)


def weights_kernel(scores, highest, total, weights):
    tt = pl.program_id(0)
    t_block = pl.program_id(2)
    t = t_block * min(T, WEIGHTS_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (1, min(T, WEIGHTS_TILE)), 1
    )
    scores_value = scores[...]
    highest_value = highest[...]
    total_value = total[...]
    masked = jnp.where(tt <= t, scores_value * jax.lax.rsqrt(float(D)), -jnp.inf)
    weight = jnp.exp(masked - highest_value)
    weights[...] = weight / total_value


def attention_kernel(weights, v, y, total):
    tt_block = pl.program_id(4)

    @pl.when(tt_block == 0)
    def _():
        total[...] = jnp.full_like(total, 0.0)

    weights_value = weights[...]
    tt_across = tt_block * min(T, ATTENTION_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (1, min(T, ATTENTION_TILE)), 1
    )
    v_value = v[...]
    tt_down = tt_block * min(T, ATTENTION_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(T, ATTENTION_TILE), 1), 0
    )
    product = jnp.dot(
        jnp.where(tt_across < T, weights_value, 0.0),
        jnp.where(tt_down < T, v_value, 0.0),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )
    total[...] = total[...] + product

    @pl.when(tt_block == pl.cdiv(T, min(T, ATTENTION_TILE)) - 1)
    def _():
        y[...] = total[...]


def causal_attention_fp16(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Causal attention in float16."""
    expected = (
        ("q", q, (B, H, T, D), jnp.float16),
        ("k", k, (B, H, T, D), jnp.float16),
        ("v", v, (B, H, T, D), jnp.float16),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")

    def q_block(b, h, t_block, tt_block, d_block):
        return (b, h, t_block, d_block)

    def k_block(b, h, t_block, tt_block, d_block):
        return (b, h, d_block, tt_block)

    def scores_block(b, h, t_block, tt_block, d_block):
        return (b, h, t_block, tt_block)

    scores = pl.pallas_call(
        scores_kernel,
        out_shape=jax.ShapeDtypeStruct((B, H, T, T), jnp.float32),
        grid=(
            B,
            H,
            pl.cdiv(T, min(T, SCORES_TILE)),
            pl.cdiv(T, min(T, SCORES_TILE)),
            pl.cdiv(D, min(D, SCORES_TILE)),
        ),
        in_specs=[
            pl.BlockSpec((None, None, min(T, SCORES_TILE), min(D, SCORES_TILE)), q_block),
            pl.BlockSpec((None, None, min(D, SCORES_TILE), min(T, SCORES_TILE)), k_block),
        ],
        out_specs=pl.BlockSpec(
            (None, None, min(T, SCORES_TILE), min(T, SCORES_TILE)), scores_block
        ),
        scratch_shapes=[pltpu.VMEM((min(T, SCORES_TILE), min(T, SCORES_TILE)), jnp.float32)],
        name="scores_kernel",
    )(q.astype(jnp.float32), k.astype(jnp.float32).transpose(0, 1, 3, 2))

    def scores_block(i, t_block, tt_block):
        return (i, tt_block, t_block)

    highest = pl.pallas_call(
        highest_kernel,
        out_shape=jax.ShapeDtypeStruct((B * H, 1, T), jnp.float32),
        grid=(B * H, pl.cdiv(T, min(T, WEIGHTS_TILE)), pl.cdiv(T, min(T, WEIGHTS_TILE))),
        in_specs=[
            pl.BlockSpec((None, min(T, WEIGHTS_TILE), min(T, WEIGHTS_TILE)), scores_block),
        ],
        out_specs=pl.BlockSpec(
            (None, 1, min(T, WEIGHTS_TILE)), lambda i, t_block, tt_block: (i, 0, t_block)
        ),
        scratch_shapes=[pltpu.VMEM((min(T, WEIGHTS_TILE), min(T, WEIGHTS_TILE)), jnp.float32)],
        name="highest_kernel",
    )(scores.reshape(B * H, T, T).transpose(0, 2, 1))
    highest = highest.reshape((B, H, T))

    def scores_block(i, t_block, tt_block):
        return (i, tt_block, t_block)

    total = pl.pallas_call(
        total_kernel,
        out_shape=jax.ShapeDtypeStruct((B * H, 1, T), jnp.float32),
        grid=(B * H, pl.cdiv(T, min(T, WEIGHTS_TILE)), pl.cdiv(T, min(T, WEIGHTS_TILE))),
        in_specs=[
            pl.BlockSpec((None, min(T, WEIGHTS_TILE), min(T, WEIGHTS_TILE)), scores_block),
            pl.BlockSpec(
                (None, 1, min(T, WEIGHTS_TILE)), lambda i, t_block, tt_block: (i, 0, t_block)
            ),
        ],
        out_specs=pl.BlockSpec(
            (None, 1, min(T, WEIGHTS_TILE)), lambda i, t_block, tt_block: (i, 0, t_block)
        ),
        scratch_shapes=[pltpu.VMEM((min(T, WEIGHTS_TILE), min(T, WEIGHTS_TILE)), jnp.float32)],
        name="total_kernel",
    )(scores.reshape(B * H, T, T).transpose(0, 2, 1), highest.reshape(B * H, 1, T))
    total = total.reshape((B, H, T))

    def scores_block(tt, i_block, t_block):
        return (tt, i_block, t_block)

    def weights_block(tt, i_block, t_block):
        return (tt, i_block, t_block)

    weights = pl.pallas_call(
        weights_kernel,
        out_shape=jax.ShapeDtypeStruct((T, B * H, T), jnp.float32),
        grid=(T, pl.cdiv(B * H, min(B * H, WEIGHTS_TILE)), pl.cdiv(T, min(T, WEIGHTS_TILE))),
        in_specs=[
            pl.BlockSpec((None, min(B * H, WEIGHTS_TILE), min(T, WEIGHTS_TILE)), scores_block),
            pl.BlockSpec(
                (min(B * H, WEIGHTS_TILE), min(T, WEIGHTS_TILE)),
                lambda tt, i_block, t_block: (i_block, t_block),
            ),
            pl.BlockSpec(
                (min(B * H, WEIGHTS_TILE), min(T, WEIGHTS_TILE)),
                lambda tt, i_block, t_block: (i_block, t_block),
            ),
        ],
        out_specs=pl.BlockSpec(
            (None, min(B * H, WEIGHTS_TILE), min(T, WEIGHTS_TILE)), weights_block
        ),
        name="weights_kernel",
    )(
        scores.reshape(B * H, T, T).transpose(2, 0, 1),
        highest.reshape(B * H, T),
        total.reshape(B * H, T),
    )
    weights = weights.transpose(1, 2, 0).reshape((B, H, T, T))

    def weights_block(b, h, t_block, d_block, tt_block):
        return (b, h, t_block, tt_block)

    def v_block(b, h, t_block, d_block, tt_block):
        return (b, h, tt_block, d_block)

    def y_block(b, h, t_block, d_block, tt_block):
        return (b, h, t_block, d_block)

    y = pl.pallas_call(
        attention_kernel,
        out_shape=jax.ShapeDtypeStruct((B, H, T, D), jnp.float32),
        grid=(
            B,
            H,
            pl.cdiv(T, min(T, ATTENTION_TILE)),
            pl.cdiv(D, min(D, ATTENTION_TILE)),
            pl.cdiv(T, min(T, ATTENTION_TILE)),
        ),
        in_specs=[
            pl.BlockSpec(
                (None, None, min(T, ATTENTION_TILE), min(T, ATTENTION_TILE)), weights_block
            ),
            pl.BlockSpec((None, None, min(T, ATTENTION_TILE), min(D, ATTENTION_TILE)), v_block),
        ],
        out_specs=pl.BlockSpec(
            (None, None, min(T, ATTENTION_TILE), min(D, ATTENTION_TILE)), y_block
        ),
        scratch_shapes=[pltpu.VMEM((min(T, ATTENTION_TILE), min(D, ATTENTION_TILE)), jnp.float32)],
        name="attention_kernel",
    )(weights, v.astype(jnp.float32))
    y = y.astype(jnp.float16)
    return y

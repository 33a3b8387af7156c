import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
B, T, D, HEADS = 8, 1024, 768, 12
# Parameters of this variant.
LAYER_NORM_ROW_BLOCK = 8
LINEAR_TILE_M, LINEAR_TILE_N, LINEAR_TILE_K = 256, 256, 128
SCORES_TILE = 256
WEIGHTS_TILE = 256
ATTENTION_TILE = 256
LINEAR_1_TILE = 256
LAYER_NORM_1_ROW_BLOCK = 8
LINEAR_2_TILE_M, LINEAR_2_TILE_N, LINEAR_2_TILE_K = 128, 512, 128
LINEAR_3_TILE = 256


def erf(x):
    """erf to 1.4 ulp of float32: XLA's is good to 5.4, and Pallas has none for Triton.

    Near zero x + x p(x^2), else 1 - exp(-|x| q(|x|)); p and q are minimax fits of degree 5 and 6.
    """
    far = jnp.minimum(jnp.abs(x), 4.0)
    near = x * x
    p = -5.97689242567867e-04
    for factor in (
        4.99098002910614e-03, -2.67655663192272e-02, 1.12818025052547e-01,
        -3.76124948263168e-01, 1.28379151225090e-01,
    ):
        p = p * near + factor
    q = 1.18855741667536e-05
    for factor in (
        -3.29310394590721e-04, 3.66872898302972e-03, -2.38172039389610e-02,
        1.06300383806229e-01, 6.35113239288330e-01, 1.12865781784058e+00,
    ):
        q = q * far + factor
    tail = jnp.where(x < 0.0, -1.0, 1.0) * (1.0 - jnp.exp(-far * q))
    return jnp.where(jnp.isnan(x), x, jnp.where(jnp.abs(x) < 0.93, x + x * p, tail))


def layer_norm_kernel(norm1_weight, norm1_bias, x, layer_norm):
    x_value = x[...]
    total = jnp.sum(x_value, axis=1, keepdims=True)
    mean = total / D
    centered = x_value - mean
    squares = jnp.sum(centered * centered, axis=1, keepdims=True)
    inverse_deviation = jax.lax.rsqrt(squares / D + 1e-05)
    layer_norm[...] = centered * inverse_deviation * norm1_weight[...] + norm1_bias[...]


def linear_kernel(layer_norm, qkv_weight, qkv_bias, linear_bias, total):
    step = pl.program_id(2)

    @pl.when(step == 0)
    def _():
        total[...] = jnp.zeros_like(total)

    # The last blocks reach over the end of the sum. Both sides are masked: 0 * NaN is NaN.
    inside = D - step * LINEAR_TILE_K
    left_depth = jax.lax.broadcasted_iota(jnp.int32, (LINEAR_TILE_M, LINEAR_TILE_K), 1)
    right_depth = jax.lax.broadcasted_iota(jnp.int32, (LINEAR_TILE_N, LINEAR_TILE_K), 1)
    total[...] += jax.lax.dot_general(
        jnp.where(left_depth < inside, layer_norm[...], 0.0),
        jnp.where(right_depth < inside, qkv_weight[...], 0.0),
        (((1,), (1,)), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )

    @pl.when(step == pl.num_programs(2) - 1)
    def _():
        linear_bias[...] = total[...] + qkv_bias[...]


def scores_kernel(linear_bias, linear_bias2, scores, total):
    i0 = pl.program_id(4)

    @pl.when(i0 == 0)
    def _():
        total[...] = jnp.full_like(total, 0.0)

    linear_bias_value = linear_bias[...]
    linear_bias_value2 = linear_bias2[...]
    total[...] = total[...] + linear_bias_value * linear_bias_value2

    @pl.when(i0 == D // HEADS - 1)
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
            tt < T,
            jnp.where(tt <= t, scores_value * jax.lax.rsqrt(float(D // HEADS)), -jnp.inf),
            -jnp.inf,
        ),
    )

    @pl.when(tt_block == pl.cdiv(T, min(T, WEIGHTS_TILE)) - 1)
    def _():
        highest[...] = jnp.max(best[...], axis=0, keepdims=True)


def total2_kernel(scores, highest, total2, total):
    t_block = pl.program_id(1)
    tt_block = pl.program_id(2)

    @pl.when(tt_block == 0)
    def _():
        total[...] = jnp.full_like(total, 0.0)

    tt = tt_block * min(T, WEIGHTS_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(T, WEIGHTS_TILE), 1), 0
    )
    t = t_block * min(T, WEIGHTS_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (1, min(T, WEIGHTS_TILE)), 1
    )
    scores_value = scores[...]
    highest_value = highest[...]
    masked = jnp.where(tt <= t, scores_value * jax.lax.rsqrt(float(D // HEADS)), -jnp.inf)
    total[...] = total[...] + jnp.where(tt < T, jnp.exp(masked - highest_value), 0.0)

    @pl.when(tt_block == pl.cdiv(T, min(T, WEIGHTS_TILE)) - 1)
    def _():
        total2[...] = jnp.sum(total[...], axis=0, keepdims=True)


def weights_kernel(scores, highest, total2, weights):
    tt = pl.program_id(0)
    t_block = pl.program_id(2)
    t = t_block * min(T, WEIGHTS_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (1, min(T, WEIGHTS_TILE)), 1
    )
    scores_value = scores[...]
    highest_value = highest[...]
    total2_value = total2[...]
    masked = jnp.where(tt <= t, scores_value * jax.lax.rsqrt(float(D // HEADS)), -jnp.inf)
    weight = jnp.exp(masked - highest_value)
    weights[...] = weight / total2_value


def attention_kernel(weights, linear_bias, scaled_dot_product_attention, total):
    tt_block = pl.program_id(4)

    @pl.when(tt_block == 0)
    def _():
        total[...] = jnp.full_like(total, 0.0)

    weights_value = weights[...]
    linear_bias_value = linear_bias[...]
    tt_down = tt_block * min(T, ATTENTION_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(T, ATTENTION_TILE), 1), 0
    )
    total[...] = total[...] + jnp.where(tt_down < T, weights_value * linear_bias_value, 0.0)

    @pl.when(tt_block == pl.cdiv(T, min(T, ATTENTION_TILE)) - 1)
    def _():
        scaled_dot_product_attention[...] = jnp.sum(total[...], axis=0, keepdims=True)


def linear_1_kernel(scaled_dot_product_attention, project_weight, linear_1, total):
    dd = pl.program_id(2)

    @pl.when(dd == 0)
    def _():
        total[...] = jnp.full_like(total, 0.0)

    scaled_dot_product_attention_value = scaled_dot_product_attention[...]
    project_weight_value = project_weight[...]
    total[...] = total[...] + scaled_dot_product_attention_value * project_weight_value

    @pl.when(dd == D - 1)
    def _():
        linear_1[...] = total[...]


def layer_norm_1_kernel(project_bias, norm2_weight, norm2_bias, x, linear_1, layer_norm_1):
    add = x[...] + (linear_1[...] + project_bias[...])
    total3 = jnp.sum(add, axis=1, keepdims=True)
    mean = total3 / D
    centered = add - mean
    squares2 = jnp.sum(centered * centered, axis=1, keepdims=True)
    inverse_deviation = jax.lax.rsqrt(squares2 / D + 1e-05)
    layer_norm_1[...] = centered * inverse_deviation * norm2_weight[...] + norm2_bias[...]


def linear_2_kernel(layer_norm_1, wide_weight, wide_bias, gelu, total):
    step = pl.program_id(2)

    @pl.when(step == 0)
    def _():
        total[...] = jnp.zeros_like(total)

    # The last blocks reach over the end of the sum. Both sides are masked: 0 * NaN is NaN.
    inside = D - step * LINEAR_2_TILE_K
    left_depth = jax.lax.broadcasted_iota(jnp.int32, (LINEAR_2_TILE_M, LINEAR_2_TILE_K), 1)
    right_depth = jax.lax.broadcasted_iota(jnp.int32, (LINEAR_2_TILE_N, LINEAR_2_TILE_K), 1)
    total[...] += jax.lax.dot_general(
        jnp.where(left_depth < inside, layer_norm_1[...], 0.0),
        jnp.where(right_depth < inside, wide_weight[...], 0.0),
        (((1,), (1,)), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )

    @pl.when(step == pl.num_programs(2) - 1)
    def _():
        linear_2_bias = total[...] + wide_bias[...]
        gelu[...] = 0.5 * linear_2_bias * (1.0 + erf(linear_2_bias * 0.70710677))


def linear_3_part_kernel(gelu, narrow_weight, linear_3, total):
    i0_block = pl.program_id(2)

    @pl.when(i0_block == 0)
    def _():
        total[...] = jnp.full_like(total, 0.0)

    gelu_value = gelu[...]
    i0_across = i0_block * min(4 * D, LINEAR_3_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (1, min(4 * D, LINEAR_3_TILE)), 1
    )
    narrow_weight_value = narrow_weight[...]
    i0_down = i0_block * min(4 * D, LINEAR_3_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(4 * D, LINEAR_3_TILE), 1), 0
    )
    product = jnp.dot(
        jnp.where(i0_across < 4 * D, gelu_value, 0.0),
        jnp.where(i0_down < 4 * D, narrow_weight_value, 0.0),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )
    total[...] = total[...] + product

    @pl.when(i0_block == pl.cdiv(4 * D, min(4 * D, LINEAR_3_TILE)) - 1)
    def _():
        linear_3[...] = total[...]


def linear_3_kernel(x, linear_1, project_bias, linear_3, narrow_bias, y):
    x_value = x[...]
    linear_1_value = linear_1[...]
    project_bias_value = project_bias[...]
    linear_3_value = linear_3[...]
    narrow_bias_value = narrow_bias[...]
    y[...] = x_value + (linear_1_value + project_bias_value) + (linear_3_value + narrow_bias_value)


def transformer_block(
    norm1_weight: jax.Array,
    norm1_bias: jax.Array,
    qkv_weight: jax.Array,
    qkv_bias: jax.Array,
    project_weight: jax.Array,
    project_bias: jax.Array,
    norm2_weight: jax.Array,
    norm2_bias: jax.Array,
    wide_weight: jax.Array,
    wide_bias: jax.Array,
    narrow_weight: jax.Array,
    narrow_bias: jax.Array,
    x: jax.Array,
) -> jax.Array:
    """A block of a transformer, norms first: causal attention of several heads, then an MLP."""
    expected = (
        ("norm1_weight", norm1_weight, (D,), jnp.float32),
        ("norm1_bias", norm1_bias, (D,), jnp.float32),
        ("qkv_weight", qkv_weight, (3 * D, D), jnp.float32),
        ("qkv_bias", qkv_bias, (3 * D,), jnp.float32),
        ("project_weight", project_weight, (D, D), jnp.float32),
        ("project_bias", project_bias, (D,), jnp.float32),
        ("norm2_weight", norm2_weight, (D,), jnp.float32),
        ("norm2_bias", norm2_bias, (D,), jnp.float32),
        ("wide_weight", wide_weight, (4 * D, D), jnp.float32),
        ("wide_bias", wide_bias, (4 * D,), jnp.float32),
        ("narrow_weight", narrow_weight, (D, 4 * D), jnp.float32),
        ("narrow_bias", narrow_bias, (D,), jnp.float32),
        ("x", x, (B, T, D), jnp.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")
    block = pl.BlockSpec((LAYER_NORM_ROW_BLOCK, D), lambda i: (i, 0))
    line = pl.BlockSpec((1, D), lambda i: (0, 0))
    layer_norm = pl.pallas_call(
        layer_norm_kernel,
        out_shape=jax.ShapeDtypeStruct((B * T, D), jnp.float32),
        grid=(pl.cdiv(B * T, LAYER_NORM_ROW_BLOCK),),
        in_specs=[line, line, block],
        out_specs=block,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel",)),
        name="layer_norm_kernel",
    )(norm1_weight.reshape(1, D), norm1_bias.reshape(1, D), x.reshape(B * T, D))
    layer_norm = layer_norm.reshape(B, T, D)
    linear_bias = pl.pallas_call(
        linear_kernel,
        out_shape=jax.ShapeDtypeStruct((B * T, 3 * D), jnp.float32),
        grid=(
            pl.cdiv(B * T, LINEAR_TILE_M), pl.cdiv(3 * D, LINEAR_TILE_N), pl.cdiv(D, LINEAR_TILE_K)
        ),
        in_specs=[
            pl.BlockSpec((LINEAR_TILE_M, LINEAR_TILE_K), lambda i, j, k: (i, k)),
            pl.BlockSpec((LINEAR_TILE_N, LINEAR_TILE_K), lambda i, j, k: (j, k)),
            pl.BlockSpec((1, LINEAR_TILE_N), lambda i, j, k: (0, j)),
        ],
        out_specs=pl.BlockSpec((LINEAR_TILE_M, LINEAR_TILE_N), lambda i, j, k: (i, j)),
        scratch_shapes=[pltpu.VMEM((LINEAR_TILE_M, LINEAR_TILE_N), jnp.float32)],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary")
        ),
        name="linear_kernel",
    )(layer_norm.reshape(B * T, D), qkv_weight, qkv_bias.reshape(1, 3 * D))
    linear_bias = linear_bias.reshape(B, T, 3 * D)

    def linear_bias_block(head, t, tt_block, b_block, i0):
        return (t, head * (D // HEADS) + i0, 0, b_block)

    def linear_bias2_block(head, t, tt_block, b_block, i0):
        return (head * (D // HEADS) + i0 + D, tt_block, b_block)

    def scores_block(head, t, tt_block, b_block, i0):
        return (head, t, tt_block, b_block)

    scores = pl.pallas_call(
        scores_kernel,
        out_shape=jax.ShapeDtypeStruct((HEADS, T, T, B), jnp.float32),
        grid=(
            HEADS, T, pl.cdiv(T, min(T, SCORES_TILE)), pl.cdiv(B, min(B, SCORES_TILE)), D // HEADS
        ),
        in_specs=[
            pl.BlockSpec((None, None, 1, min(B, SCORES_TILE)), linear_bias_block),
            pl.BlockSpec((None, min(T, SCORES_TILE), min(B, SCORES_TILE)), linear_bias2_block),
        ],
        out_specs=pl.BlockSpec(
            (None, None, min(T, SCORES_TILE), min(B, SCORES_TILE)), scores_block
        ),
        scratch_shapes=[pltpu.VMEM((min(T, SCORES_TILE), min(B, SCORES_TILE)), jnp.float32)],
        name="scores_kernel",
    )(linear_bias.transpose(1, 2, 0).reshape(T, 3 * D, 1, B), linear_bias.transpose(2, 1, 0))
    scores = scores.transpose(3, 0, 1, 2)

    def scores_block(i, t_block, tt_block):
        return (i, tt_block, t_block)

    highest = pl.pallas_call(
        highest_kernel,
        out_shape=jax.ShapeDtypeStruct((B * HEADS, 1, T), jnp.float32),
        grid=(B * HEADS, pl.cdiv(T, min(T, WEIGHTS_TILE)), pl.cdiv(T, min(T, WEIGHTS_TILE))),
        in_specs=[
            pl.BlockSpec((None, min(T, WEIGHTS_TILE), min(T, WEIGHTS_TILE)), scores_block),
        ],
        out_specs=pl.BlockSpec(
            (None, 1, min(T, WEIGHTS_TILE)), lambda i, t_block, tt_block: (i, 0, t_block)
        ),
        scratch_shapes=[pltpu.VMEM((min(T, WEIGHTS_TILE), min(T, WEIGHTS_TILE)), jnp.float32)],
        name="highest_kernel",
    )(scores.reshape(B * HEADS, T, T).transpose(0, 2, 1))
    highest = highest.reshape((B, HEADS, T))

    def scores_block(i, t_block, tt_block):
        return (i, tt_block, t_block)

    total2 = pl.pallas_call(
        total2_kernel,
        out_shape=jax.ShapeDtypeStruct((B * HEADS, 1, T), jnp.float32),
        grid=(B * HEADS, pl.cdiv(T, min(T, WEIGHTS_TILE)), pl.cdiv(T, min(T, WEIGHTS_TILE))),
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
        name="total2_kernel",
    )(scores.reshape(B * HEADS, T, T).transpose(0, 2, 1), highest.reshape(B * HEADS, 1, T))
    total2 = total2.reshape((B, HEADS, T))

    def scores_block(tt, i_block, t_block):
        return (tt, i_block, t_block)

    def weights_block(tt, i_block, t_block):
        return (tt, i_block, t_block)

    weights = pl.pallas_call(
        weights_kernel,
        out_shape=jax.ShapeDtypeStruct((T, B * HEADS, T), jnp.float32),
        grid=(
            T, pl.cdiv(B * HEADS, min(B * HEADS, WEIGHTS_TILE)), pl.cdiv(T, min(T, WEIGHTS_TILE))
        ),
        in_specs=[
            pl.BlockSpec((None, min(B * HEADS, WEIGHTS_TILE), min(T, WEIGHTS_TILE)), scores_block),
            pl.BlockSpec(
                (min(B * HEADS, WEIGHTS_TILE), min(T, WEIGHTS_TILE)),
                lambda tt, i_block, t_block: (i_block, t_block),
            ),
            pl.BlockSpec(
                (min(B * HEADS, WEIGHTS_TILE), min(T, WEIGHTS_TILE)),
                lambda tt, i_block, t_block: (i_block, t_block),
            ),
        ],
        out_specs=pl.BlockSpec(
            (None, min(B * HEADS, WEIGHTS_TILE), min(T, WEIGHTS_TILE)), weights_block
        ),
        name="weights_kernel",
    )(
        scores.reshape(B * HEADS, T, T).transpose(2, 0, 1),
        highest.reshape(B * HEADS, T),
        total2.reshape(B * HEADS, T),
    )
    weights = weights.transpose(1, 2, 0).reshape((B, HEADS, T, T))

    def weights_block(head, t, i3, b_block, tt_block):
        return (head, t, tt_block, b_block)

    def linear_bias_block(head, t, i3, b_block, tt_block):
        return (head * (D // HEADS) + i3 + 2 * D, tt_block, b_block)

    def scaled_dot_product_attention_block(head, t, i3, b_block, tt_block):
        return (head, t, i3, 0, b_block)

    scaled_dot_product_attention = pl.pallas_call(
        attention_kernel,
        out_shape=jax.ShapeDtypeStruct((HEADS, T, D // HEADS, 1, B), jnp.float32),
        grid=(
            HEADS,
            T,
            D // HEADS,
            pl.cdiv(B, min(B, ATTENTION_TILE)),
            pl.cdiv(T, min(T, ATTENTION_TILE)),
        ),
        in_specs=[
            pl.BlockSpec(
                (None, None, min(T, ATTENTION_TILE), min(B, ATTENTION_TILE)), weights_block
            ),
            pl.BlockSpec((None, min(T, ATTENTION_TILE), min(B, ATTENTION_TILE)), linear_bias_block),
        ],
        out_specs=pl.BlockSpec(
            (None, None, None, 1, min(B, ATTENTION_TILE)), scaled_dot_product_attention_block
        ),
        scratch_shapes=[pltpu.VMEM((min(T, ATTENTION_TILE), min(B, ATTENTION_TILE)), jnp.float32)],
        name="attention_kernel",
    )(weights.transpose(1, 2, 3, 0), linear_bias.transpose(2, 1, 0))
    scaled_dot_product_attention = scaled_dot_product_attention.reshape(
        HEADS, T, D // HEADS, B
    ).transpose(3, 0, 1, 2)

    def scaled_dot_product_attention_block(b_block, d_block, dd):
        return (dd // (D // HEADS), dd % (D // HEADS), b_block, 0)

    linear_1 = pl.pallas_call(
        linear_1_kernel,
        out_shape=jax.ShapeDtypeStruct((B * T, D), jnp.float32),
        grid=(pl.cdiv(B * T, min(B * T, LINEAR_1_TILE)), pl.cdiv(D, min(D, LINEAR_1_TILE)), D),
        in_specs=[
            pl.BlockSpec(
                (None, None, min(B * T, LINEAR_1_TILE), 1), scaled_dot_product_attention_block
            ),
            pl.BlockSpec(
                (None, 1, min(D, LINEAR_1_TILE)), lambda b_block, d_block, dd: (dd, 0, d_block)
            ),
        ],
        out_specs=pl.BlockSpec(
            (min(B * T, LINEAR_1_TILE), min(D, LINEAR_1_TILE)),
            lambda b_block, d_block, dd: (b_block, d_block),
        ),
        scratch_shapes=[
            pltpu.VMEM((min(B * T, LINEAR_1_TILE), min(D, LINEAR_1_TILE)), jnp.float32)
        ],
        name="linear_1_kernel",
    )(
        scaled_dot_product_attention.transpose(1, 3, 0, 2).reshape(HEADS, D // HEADS, B * T, 1),
        project_weight.transpose(1, 0).reshape(D, 1, D),
    )
    linear_1 = linear_1.reshape((B, T, D))
    block = pl.BlockSpec((LAYER_NORM_1_ROW_BLOCK, D), lambda i: (i, 0))
    line = pl.BlockSpec((1, D), lambda i: (0, 0))
    layer_norm_1 = pl.pallas_call(
        layer_norm_1_kernel,
        out_shape=jax.ShapeDtypeStruct((B * T, D), jnp.float32),
        grid=(pl.cdiv(B * T, LAYER_NORM_1_ROW_BLOCK),),
        in_specs=[line, line, line, block, block],
        out_specs=block,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel",)),
        name="layer_norm_1_kernel",
    )(
        project_bias.reshape(1, D),
        norm2_weight.reshape(1, D),
        norm2_bias.reshape(1, D),
        x.reshape(B * T, D),
        linear_1.reshape(B * T, D),
    )
    layer_norm_1 = layer_norm_1.reshape(B, T, D)
    gelu = pl.pallas_call(
        linear_2_kernel,
        out_shape=jax.ShapeDtypeStruct((B * T, 4 * D), jnp.float32),
        grid=(
            pl.cdiv(B * T, LINEAR_2_TILE_M),
            pl.cdiv(4 * D, LINEAR_2_TILE_N),
            pl.cdiv(D, LINEAR_2_TILE_K),
        ),
        in_specs=[
            pl.BlockSpec((LINEAR_2_TILE_M, LINEAR_2_TILE_K), lambda i, j, k: (i, k)),
            pl.BlockSpec((LINEAR_2_TILE_N, LINEAR_2_TILE_K), lambda i, j, k: (j, k)),
            pl.BlockSpec((1, LINEAR_2_TILE_N), lambda i, j, k: (0, j)),
        ],
        out_specs=pl.BlockSpec((LINEAR_2_TILE_M, LINEAR_2_TILE_N), lambda i, j, k: (i, j)),
        scratch_shapes=[pltpu.VMEM((LINEAR_2_TILE_M, LINEAR_2_TILE_N), jnp.float32)],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary")
        ),
        name="linear_2_kernel",
    )(layer_norm_1.reshape(B * T, D), wide_weight, wide_bias.reshape(1, 4 * D))
    gelu = gelu.reshape(B, T, 4 * D)

    def gelu_block(b_block, d_block, i0_block):
        return (b_block, i0_block)

    def narrow_weight_block(b_block, d_block, i0_block):
        return (i0_block, d_block)

    def linear_3_block(b_block, d_block, i0_block):
        return (b_block, d_block)

    linear_3 = pl.pallas_call(
        linear_3_part_kernel,
        out_shape=jax.ShapeDtypeStruct((B * T, D), jnp.float32),
        grid=(
            pl.cdiv(B * T, min(B * T, LINEAR_3_TILE)),
            pl.cdiv(D, min(D, LINEAR_3_TILE)),
            pl.cdiv(4 * D, min(4 * D, LINEAR_3_TILE)),
        ),
        in_specs=[
            pl.BlockSpec((min(B * T, LINEAR_3_TILE), min(4 * D, LINEAR_3_TILE)), gelu_block),
            pl.BlockSpec((min(4 * D, LINEAR_3_TILE), min(D, LINEAR_3_TILE)), narrow_weight_block),
        ],
        out_specs=pl.BlockSpec((min(B * T, LINEAR_3_TILE), min(D, LINEAR_3_TILE)), linear_3_block),
        scratch_shapes=[
            pltpu.VMEM((min(B * T, LINEAR_3_TILE), min(D, LINEAR_3_TILE)), jnp.float32)
        ],
        name="linear_3_part_kernel",
    )(gelu.reshape(B * T, 4 * D), narrow_weight.transpose(1, 0))
    linear_3 = linear_3.reshape((B, T, D))

    y = pl.pallas_call(
        linear_3_kernel,
        out_shape=jax.ShapeDtypeStruct((B * T, D), jnp.float32),
        grid=(pl.cdiv(B * T, min(B * T, LINEAR_3_TILE)), pl.cdiv(D, min(D, LINEAR_3_TILE))),
        in_specs=[
            pl.BlockSpec(
                (min(B * T, LINEAR_3_TILE), min(D, LINEAR_3_TILE)),
                lambda b_block, d_block: (b_block, d_block),
            ),
            pl.BlockSpec(
                (min(B * T, LINEAR_3_TILE), min(D, LINEAR_3_TILE)),
                lambda b_block, d_block: (b_block, d_block),
            ),
            pl.BlockSpec((1, min(D, LINEAR_3_TILE)), lambda b_block, d_block: (0, d_block)),
            pl.BlockSpec(
                (min(B * T, LINEAR_3_TILE), min(D, LINEAR_3_TILE)),
                lambda b_block, d_block: (b_block, d_block),
            ),
            pl.BlockSpec((1, min(D, LINEAR_3_TILE)), lambda b_block, d_block: (0, d_block)),
        ],
        out_specs=pl.BlockSpec(
            (min(B * T, LINEAR_3_TILE), min(D, LINEAR_3_TILE)),
            lambda b_block, d_block: (b_block, d_block),
        ),
        name="linear_3_kernel",
    )(
        x.reshape(B * T, D),
        linear_1.reshape(B * T, D),
        project_bias.reshape(1, D),
        linear_3.reshape(B * T, D),
        narrow_bias.reshape(1, D),
    )
    y = y.reshape((B, T, D))
    return y

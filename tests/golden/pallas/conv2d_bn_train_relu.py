import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
N, C, K, H, W, PAD_H = 32, 64, 128, 56, 56, 1
PAD_W, P, Q = 1, 56, 56
# Parameters of this variant.
CONV2D_FILTER_BLOCK = 128
RELU_TILE = 256


def conv2d_kernel(*refs):
    # One padded input row (width, channels) for each tap row of the window.
    *lines, conv_weight, conv2d = refs
    total = jnp.zeros((Q, CONV2D_FILTER_BLOCK), jnp.float32)
    for r in range(3):
        for s in range(3):
            total += jnp.dot(
                lines[r][pl.ds(s, Q, 1), :],
                conv_weight[r, s],
                precision=jax.lax.Precision.HIGHEST,
                preferred_element_type=jnp.float32,
            )
    conv2d[...] = total


def total_kernel(conv2d, conv_bias, total, total2):
    n_block = pl.program_id(1)

    @pl.when(n_block == 0)
    def _():
        total2[...] = jnp.full_like(total2, 0.0)

    conv2d_value = conv2d[...]
    conv_bias_value = conv_bias[...]
    n_down = n_block * min(N * P * Q, RELU_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(N * P * Q, RELU_TILE), 1), 0
    )
    total2[...] = total2[...] + jnp.where(n_down < N * P * Q, conv2d_value + conv_bias_value, 0.0)

    @pl.when(n_block == pl.cdiv(N * P * Q, min(N * P * Q, RELU_TILE)) - 1)
    def _():
        total[...] = jnp.sum(total2[...], axis=0, keepdims=True)


def squares_kernel(conv2d, conv_bias, total, squares, total2):
    n_block = pl.program_id(1)

    @pl.when(n_block == 0)
    def _():
        total2[...] = jnp.full_like(total2, 0.0)

    conv2d_value = conv2d[...]
    conv_bias_value = conv_bias[...]
    total_value = total[...]
    centered = conv2d_value + conv_bias_value - total_value / (N * P * Q)
    n_down = n_block * min(N * P * Q, RELU_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(N * P * Q, RELU_TILE), 1), 0
    )
    total2[...] = total2[...] + jnp.where(n_down < N * P * Q, centered * centered, 0.0)

    @pl.when(n_block == pl.cdiv(N * P * Q, min(N * P * Q, RELU_TILE)) - 1)
    def _():
        squares[...] = jnp.sum(total2[...], axis=0, keepdims=True)


def norm_running_mean_kernel(norm_running_mean2, total, norm_running_mean):
    norm_running_mean_value = norm_running_mean2[...]
    total_value = total[...]
    norm_running_mean[...] = 0.9 * norm_running_mean_value + 0.1 * (total_value / (N * P * Q))


def norm_running_var_kernel(norm_running_var2, squares, norm_running_var):
    norm_running_var_value = norm_running_var2[...]
    squares_value = squares[...]
    norm_running_var[...] = 0.9 * norm_running_var_value + 0.1 * (squares_value / (N * P * Q - 1))


def relu_kernel(conv2d, conv_bias, total, squares, norm_weight, norm_bias, y):
    conv2d_value = conv2d[...]
    conv_bias_value = conv_bias[...]
    total_value = total[...]
    squares_value = squares[...]
    norm_weight_value = norm_weight[...]
    norm_bias_value = norm_bias[...]
    centered = conv2d_value + conv_bias_value - total_value / (N * P * Q)
    inverse_deviation = jax.lax.rsqrt(squares_value / (N * P * Q) + 1e-05)
    batch_norm = centered * inverse_deviation * norm_weight_value + norm_bias_value
    y[...] = jnp.where(batch_norm < 0.0, 0.0, batch_norm)


def batch_count_kernel(norm_num_batches_tracked2, norm_num_batches_tracked):
    norm_num_batches_tracked_value = norm_num_batches_tracked2[...]
    norm_num_batches_tracked[...] = norm_num_batches_tracked_value + 1


def conv2d_bn_train_relu(
    conv_weight: jax.Array,
    conv_bias: jax.Array,
    norm_weight: jax.Array,
    norm_bias: jax.Array,
    norm_running_mean: jax.Array,
    norm_running_var: jax.Array,
    norm_num_batches_tracked: jax.Array,
    x: jax.Array,
) -> jax.Array:
    """Convolution, batch normalisation in training, and relu."""
    expected = (
        ("conv_weight", conv_weight, (K, C, 3, 3), jnp.float32),
        ("conv_bias", conv_bias, (K,), jnp.float32),
        ("norm_weight", norm_weight, (K,), jnp.float32),
        ("norm_bias", norm_bias, (K,), jnp.float32),
        ("norm_running_mean", norm_running_mean, (K,), jnp.float32),
        ("norm_running_var", norm_running_var, (K,), jnp.float32),
        ("norm_num_batches_tracked", norm_num_batches_tracked, (), jnp.int32),
        ("x", x, (N, C, H, W), jnp.float32),
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

    conv2d = pl.pallas_call(
        conv2d_kernel,
        out_shape=jax.ShapeDtypeStruct((N, P, Q, K), jnp.float32),
        grid=(N, P, pl.cdiv(K, CONV2D_FILTER_BLOCK)),
        in_specs=[
            *(line(r) for r in range(3)),
            pl.BlockSpec((3, 3, C, CONV2D_FILTER_BLOCK), lambda n, p, f: (0, 0, 0, f)),
        ],
        out_specs=pl.BlockSpec(
            (None, None, Q, CONV2D_FILTER_BLOCK), lambda n, p, f: (n, p, 0, f)
        ),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "parallel")
        ),
        name="conv2d_kernel",
    )(*[padded] * 3, conv_weight.transpose(2, 3, 1, 0))
    conv2d = conv2d.transpose(0, 3, 1, 2)
    total = pl.pallas_call(
        total_kernel,
        out_shape=jax.ShapeDtypeStruct((1, K), jnp.float32),
        grid=(pl.cdiv(K, min(K, RELU_TILE)), pl.cdiv(N * P * Q, min(N * P * Q, RELU_TILE))),
        in_specs=[
            pl.BlockSpec(
                (min(N * P * Q, RELU_TILE), min(K, RELU_TILE)),
                lambda k_block, n_block: (n_block, k_block),
            ),
            pl.BlockSpec((1, min(K, RELU_TILE)), lambda k_block, n_block: (0, k_block)),
        ],
        out_specs=pl.BlockSpec((1, min(K, RELU_TILE)), lambda k_block, n_block: (0, k_block)),
        scratch_shapes=[pltpu.VMEM((min(N * P * Q, RELU_TILE), min(K, RELU_TILE)), jnp.float32)],
        name="total_kernel",
    )(conv2d.reshape(N, K, P * Q).transpose(0, 2, 1).reshape(N * P * Q, K), conv_bias.reshape(1, K))
    total = total.reshape((K,))

    squares = pl.pallas_call(
        squares_kernel,
        out_shape=jax.ShapeDtypeStruct((1, K), jnp.float32),
        grid=(pl.cdiv(K, min(K, RELU_TILE)), pl.cdiv(N * P * Q, min(N * P * Q, RELU_TILE))),
        in_specs=[
            pl.BlockSpec(
                (min(N * P * Q, RELU_TILE), min(K, RELU_TILE)),
                lambda k_block, n_block: (n_block, k_block),
            ),
            pl.BlockSpec((1, min(K, RELU_TILE)), lambda k_block, n_block: (0, k_block)),
            pl.BlockSpec((1, min(K, RELU_TILE)), lambda k_block, n_block: (0, k_block)),
        ],
        out_specs=pl.BlockSpec((1, min(K, RELU_TILE)), lambda k_block, n_block: (0, k_block)),
        scratch_shapes=[pltpu.VMEM((min(N * P * Q, RELU_TILE), min(K, RELU_TILE)), jnp.float32)],
        name="squares_kernel",
    )(
        conv2d.reshape(N, K, P * Q).transpose(0, 2, 1).reshape(N * P * Q, K),
        conv_bias.reshape(1, K),
        total.reshape(1, K),
    )
    squares = squares.reshape((K,))

    norm_running_mean = pl.pallas_call(
        norm_running_mean_kernel,
        out_shape=jax.ShapeDtypeStruct((1, K), jnp.float32),
        grid=(pl.cdiv(K, min(K, 32 * RELU_TILE)),),
        in_specs=[
            pl.BlockSpec((1, min(K, 32 * RELU_TILE)), lambda k_block: (0, k_block)),
            pl.BlockSpec((1, min(K, 32 * RELU_TILE)), lambda k_block: (0, k_block)),
        ],
        out_specs=pl.BlockSpec((1, min(K, 32 * RELU_TILE)), lambda k_block: (0, k_block)),
        name="norm_running_mean_kernel",
    )(norm_running_mean.reshape(1, K), total.reshape(1, K))
    norm_running_mean = norm_running_mean.reshape((K,))

    norm_running_var = pl.pallas_call(
        norm_running_var_kernel,
        out_shape=jax.ShapeDtypeStruct((1, K), jnp.float32),
        grid=(pl.cdiv(K, min(K, 32 * RELU_TILE)),),
        in_specs=[
            pl.BlockSpec((1, min(K, 32 * RELU_TILE)), lambda k_block: (0, k_block)),
            pl.BlockSpec((1, min(K, 32 * RELU_TILE)), lambda k_block: (0, k_block)),
        ],
        out_specs=pl.BlockSpec((1, min(K, 32 * RELU_TILE)), lambda k_block: (0, k_block)),
        name="norm_running_var_kernel",
    )(norm_running_var.reshape(1, K), squares.reshape(1, K))
    norm_running_var = norm_running_var.reshape((K,))

    y = pl.pallas_call(
        relu_kernel,
        out_shape=jax.ShapeDtypeStruct((N * P * Q, K), jnp.float32),
        grid=(pl.cdiv(N * P * Q, min(N * P * Q, RELU_TILE)), pl.cdiv(K, min(K, RELU_TILE))),
        in_specs=[
            pl.BlockSpec(
                (min(N * P * Q, RELU_TILE), min(K, RELU_TILE)),
                lambda n_block, k_block: (n_block, k_block),
            ),
            pl.BlockSpec((1, min(K, RELU_TILE)), lambda n_block, k_block: (0, k_block)),
            pl.BlockSpec((1, min(K, RELU_TILE)), lambda n_block, k_block: (0, k_block)),
            pl.BlockSpec((1, min(K, RELU_TILE)), lambda n_block, k_block: (0, k_block)),
            pl.BlockSpec((1, min(K, RELU_TILE)), lambda n_block, k_block: (0, k_block)),
            pl.BlockSpec((1, min(K, RELU_TILE)), lambda n_block, k_block: (0, k_block)),
        ],
        out_specs=pl.BlockSpec(
            (min(N * P * Q, RELU_TILE), min(K, RELU_TILE)),
            lambda n_block, k_block: (n_block, k_block),
        ),
        name="relu_kernel",
    )(
        conv2d.reshape(N, K, P * Q).transpose(0, 2, 1).reshape(N * P * Q, K),
        conv_bias.reshape(1, K),
        total.reshape(1, K),
        squares.reshape(1, K),
        norm_weight.reshape(1, K),
        norm_bias.reshape(1, K),
    )
    y = y.reshape(N, P * Q, K).transpose(0, 2, 1).reshape((N, K, P, Q))
    norm_num_batches_tracked = pl.pallas_call(
        batch_count_kernel,
        out_shape=jax.ShapeDtypeStruct((1, 1), jnp.int32),
        grid=(1,),
        in_specs=[
            pl.BlockSpec((1, 1), lambda only: (0, 0)),
        ],
        out_specs=pl.BlockSpec((1, 1), lambda only: (0, 0)),
        name="batch_count_kernel",
    )(norm_num_batches_tracked.reshape(1, 1))
    norm_num_batches_tracked = norm_num_batches_tracked.reshape(())
    return y, norm_running_mean, norm_running_var, norm_num_batches_tracked

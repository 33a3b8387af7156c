import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
T, B, I, H, GATES = 128, 64, 256, 512, 1536
# Parameters of this variant.
X_GATES_L0_TILE_M, X_GATES_L0_TILE_N, X_GATES_L0_TILE_K = 256, 256, 128
H_L0_TILE = 256
H_GATES_L0_TILE_M, H_GATES_L0_TILE_N, H_GATES_L0_TILE_K = 128, 256, 128
H_NEXT_L0_TILE = 256
X_GATES_L1_TILE_M, X_GATES_L1_TILE_N, X_GATES_L1_TILE_K = 256, 256, 128
H_L1_TILE = 256
H_GATES_L1_TILE_M, H_GATES_L1_TILE_N, H_GATES_L1_TILE_K = 128, 256, 128
H_NEXT_L1_TILE = 256
HN_TILE = 256


def x_gates_l0_kernel(x, gru_weight_ih_l0, gru_bias_ih_l0, x_gates_l0_biased, total):
    step = pl.program_id(2)

    @pl.when(step == 0)
    def _():
        total[...] = jnp.zeros_like(total)

    # The last blocks reach over the end of the sum. Both sides are masked: 0 * NaN is NaN.
    inside = I - step * X_GATES_L0_TILE_K
    left_depth = jax.lax.broadcasted_iota(jnp.int32, (X_GATES_L0_TILE_M, X_GATES_L0_TILE_K), 1)
    right_depth = jax.lax.broadcasted_iota(jnp.int32, (X_GATES_L0_TILE_N, X_GATES_L0_TILE_K), 1)
    total[...] += jax.lax.dot_general(
        jnp.where(left_depth < inside, x[...], 0.0),
        jnp.where(right_depth < inside, gru_weight_ih_l0[...], 0.0),
        (((1,), (1,)), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )

    @pl.when(step == pl.num_programs(2) - 1)
    def _():
        x_gates_l0_biased[...] = total[...] + gru_bias_ih_l0[...]


def h_l0_kernel(h0, h_l0):
    h0_value = h0[...]
    h_l0[...] = h0_value


def h_gates_l0_kernel(h_l0, gru_weight_hh_l0, h_gates_l0, total):
    step = pl.program_id(2)

    @pl.when(step == 0)
    def _():
        total[...] = jnp.zeros_like(total)

    # The last blocks reach over the end of the sum. Both sides are masked: 0 * NaN is NaN.
    inside = H - step * H_GATES_L0_TILE_K
    left_depth = jax.lax.broadcasted_iota(jnp.int32, (H_GATES_L0_TILE_M, H_GATES_L0_TILE_K), 1)
    right_depth = jax.lax.broadcasted_iota(jnp.int32, (H_GATES_L0_TILE_N, H_GATES_L0_TILE_K), 1)
    total[...] += jax.lax.dot_general(
        jnp.where(left_depth < inside, h_l0[...], 0.0),
        jnp.where(right_depth < inside, gru_weight_hh_l0[...], 0.0),
        (((1,), (1,)), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )

    @pl.when(step == pl.num_programs(2) - 1)
    def _():
        h_gates_l0[...] = total[...]


def h_next_l0_kernel(
    x_gates_l0_biased,
    h_gates_l0,
    gru_bias_hh_l0,
    x_gates_l0_biased2,
    x_gates_l0_biased3,
    h_gates_l0_2,
    gru_bias_hh_l0_2,
    h_gates_l0_3,
    gru_bias_hh_l0_3,
    h_l0,
    h_next_l0,
):
    x_gates_l0_biased_value = x_gates_l0_biased[...]
    h_gates_l0_value = h_gates_l0[...]
    gru_bias_hh_l0_value = gru_bias_hh_l0[...]
    x_gates_l0_biased_value2 = x_gates_l0_biased2[...]
    x_gates_l0_biased_value3 = x_gates_l0_biased3[...]
    h_gates_l0_value2 = h_gates_l0_2[...]
    gru_bias_hh_l0_value2 = gru_bias_hh_l0_2[...]
    h_gates_l0_value3 = h_gates_l0_3[...]
    gru_bias_hh_l0_value3 = gru_bias_hh_l0_3[...]
    h_l0_value = h_l0[...]
    update = (
        1.0 / (
            1.0 + jnp.exp(-(x_gates_l0_biased_value + (h_gates_l0_value + gru_bias_hh_l0_value)))
        )
    )
    reset = (
        1.0 / (
            1.0 + jnp.exp(-(x_gates_l0_biased_value3 + (h_gates_l0_value2 + gru_bias_hh_l0_value2)))
        )
    )
    candidate = jnp.tanh(
        x_gates_l0_biased_value2 + reset * (h_gates_l0_value3 + gru_bias_hh_l0_value3)
    )
    h_next_l0[...] = (1.0 - update) * candidate + update * h_l0_value


def x_gates_l1_kernel(y_l0, gru_weight_ih_l1, gru_bias_ih_l1, x_gates_l1_biased, total):
    step = pl.program_id(2)

    @pl.when(step == 0)
    def _():
        total[...] = jnp.zeros_like(total)

    # The last blocks reach over the end of the sum. Both sides are masked: 0 * NaN is NaN.
    inside = H - step * X_GATES_L1_TILE_K
    left_depth = jax.lax.broadcasted_iota(jnp.int32, (X_GATES_L1_TILE_M, X_GATES_L1_TILE_K), 1)
    right_depth = jax.lax.broadcasted_iota(jnp.int32, (X_GATES_L1_TILE_N, X_GATES_L1_TILE_K), 1)
    total[...] += jax.lax.dot_general(
        jnp.where(left_depth < inside, y_l0[...], 0.0),
        jnp.where(right_depth < inside, gru_weight_ih_l1[...], 0.0),
        (((1,), (1,)), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )

    @pl.when(step == pl.num_programs(2) - 1)
    def _():
        x_gates_l1_biased[...] = total[...] + gru_bias_ih_l1[...]


def h_l1_kernel(h0, h_l1):
    h0_value = h0[...]
    h_l1[...] = h0_value


def h_gates_l1_kernel(h_l1, gru_weight_hh_l1, h_gates_l1, total):
    step = pl.program_id(2)

    @pl.when(step == 0)
    def _():
        total[...] = jnp.zeros_like(total)

    # The last blocks reach over the end of the sum. Both sides are masked: 0 * NaN is NaN.
    inside = H - step * H_GATES_L1_TILE_K
    left_depth = jax.lax.broadcasted_iota(jnp.int32, (H_GATES_L1_TILE_M, H_GATES_L1_TILE_K), 1)
    right_depth = jax.lax.broadcasted_iota(jnp.int32, (H_GATES_L1_TILE_N, H_GATES_L1_TILE_K), 1)
    total[...] += jax.lax.dot_general(
        jnp.where(left_depth < inside, h_l1[...], 0.0),
        jnp.where(right_depth < inside, gru_weight_hh_l1[...], 0.0),
        (((1,), (1,)), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )

    @pl.when(step == pl.num_programs(2) - 1)
    def _():
        h_gates_l1[...] = total[...]


def h_next_l1_kernel(
    x_gates_l1_biased,
    h_gates_l1,
    gru_bias_hh_l1,
    x_gates_l1_biased2,
    x_gates_l1_biased3,
    h_gates_l1_2,
    gru_bias_hh_l1_2,
    h_gates_l1_3,
    gru_bias_hh_l1_3,
    h_l1,
    h_next_l1,
):
    x_gates_l1_biased_value = x_gates_l1_biased[...]
    h_gates_l1_value = h_gates_l1[...]
    gru_bias_hh_l1_value = gru_bias_hh_l1[...]
    x_gates_l1_biased_value2 = x_gates_l1_biased2[...]
    x_gates_l1_biased_value3 = x_gates_l1_biased3[...]
    h_gates_l1_value2 = h_gates_l1_2[...]
    gru_bias_hh_l1_value2 = gru_bias_hh_l1_2[...]
    h_gates_l1_value3 = h_gates_l1_3[...]
    gru_bias_hh_l1_value3 = gru_bias_hh_l1_3[...]
    h_l1_value = h_l1[...]
    update = (
        1.0 / (
            1.0 + jnp.exp(-(x_gates_l1_biased_value + (h_gates_l1_value + gru_bias_hh_l1_value)))
        )
    )
    reset = (
        1.0 / (
            1.0 + jnp.exp(-(x_gates_l1_biased_value3 + (h_gates_l1_value2 + gru_bias_hh_l1_value2)))
        )
    )
    candidate = jnp.tanh(
        x_gates_l1_biased_value2 + reset * (h_gates_l1_value3 + gru_bias_hh_l1_value3)
    )
    h_next_l1[...] = (1.0 - update) * candidate + update * h_l1_value


def hn_kernel(h_l0, h_l1, y2):
    layer_block = pl.program_id(0)
    layer = layer_block * min(2, HN_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(2, HN_TILE), 1), 0
    )
    h_l0_value = h_l0[...]
    h_l1_value = h_l1[...]
    y2[...] = jnp.where(layer == 0, h_l0_value, h_l1_value)


def gru_2layer(
    gru_weight_ih_l0: jax.Array,
    gru_weight_hh_l0: jax.Array,
    gru_bias_ih_l0: jax.Array,
    gru_bias_hh_l0: jax.Array,
    gru_weight_ih_l1: jax.Array,
    gru_weight_hh_l1: jax.Array,
    gru_bias_ih_l1: jax.Array,
    gru_bias_hh_l1: jax.Array,
    x: jax.Array,
    h0: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """A GRU of two layers over a sequence, time first: every hidden state, and the last ones."""
    expected = (
        ("gru_weight_ih_l0", gru_weight_ih_l0, (GATES, I), jnp.float32),
        ("gru_weight_hh_l0", gru_weight_hh_l0, (GATES, H), jnp.float32),
        ("gru_bias_ih_l0", gru_bias_ih_l0, (GATES,), jnp.float32),
        ("gru_bias_hh_l0", gru_bias_hh_l0, (GATES,), jnp.float32),
        ("gru_weight_ih_l1", gru_weight_ih_l1, (GATES, H), jnp.float32),
        ("gru_weight_hh_l1", gru_weight_hh_l1, (GATES, H), jnp.float32),
        ("gru_bias_ih_l1", gru_bias_ih_l1, (GATES,), jnp.float32),
        ("gru_bias_hh_l1", gru_bias_hh_l1, (GATES,), jnp.float32),
        ("x", x, (T, B, I), jnp.float32),
        ("h0", h0, (2, B, H), jnp.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")
    x_gates_l0_biased = pl.pallas_call(
        x_gates_l0_kernel,
        out_shape=jax.ShapeDtypeStruct((T * B, GATES), jnp.float32),
        grid=(
            pl.cdiv(T * B, X_GATES_L0_TILE_M),
            pl.cdiv(GATES, X_GATES_L0_TILE_N),
            pl.cdiv(I, X_GATES_L0_TILE_K),
        ),
        in_specs=[
            pl.BlockSpec((X_GATES_L0_TILE_M, X_GATES_L0_TILE_K), lambda i, j, k: (i, k)),
            pl.BlockSpec((X_GATES_L0_TILE_N, X_GATES_L0_TILE_K), lambda i, j, k: (j, k)),
            pl.BlockSpec((1, X_GATES_L0_TILE_N), lambda i, j, k: (0, j)),
        ],
        out_specs=pl.BlockSpec((X_GATES_L0_TILE_M, X_GATES_L0_TILE_N), lambda i, j, k: (i, j)),
        scratch_shapes=[pltpu.VMEM((X_GATES_L0_TILE_M, X_GATES_L0_TILE_N), jnp.float32)],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary")
        ),
        name="x_gates_l0_kernel",
    )(x.reshape(T * B, I), gru_weight_ih_l0, gru_bias_ih_l0.reshape(1, GATES))
    x_gates_l0_biased = x_gates_l0_biased.reshape(T, B, GATES)
    h_l0 = pl.pallas_call(
        h_l0_kernel,
        out_shape=jax.ShapeDtypeStruct((B, H), jnp.float32),
        grid=(pl.cdiv(B, min(B, H_L0_TILE)), pl.cdiv(H, min(H, H_L0_TILE))),
        in_specs=[
            pl.BlockSpec(
                (None, min(B, H_L0_TILE), min(H, H_L0_TILE)),
                lambda b_block, k_block: (0, b_block, k_block),
            ),
        ],
        out_specs=pl.BlockSpec(
            (min(B, H_L0_TILE), min(H, H_L0_TILE)), lambda b_block, k_block: (b_block, k_block)
        ),
        name="h_l0_kernel",
    )(h0)

    def round_of_h_l0(h_l0, x_gates_l0_biased):
        h_gates_l0 = pl.pallas_call(
            h_gates_l0_kernel,
            out_shape=jax.ShapeDtypeStruct((B, GATES), jnp.float32),
            grid=(
                pl.cdiv(B, H_GATES_L0_TILE_M),
                pl.cdiv(GATES, H_GATES_L0_TILE_N),
                pl.cdiv(H, H_GATES_L0_TILE_K),
            ),
            in_specs=[
                pl.BlockSpec((H_GATES_L0_TILE_M, H_GATES_L0_TILE_K), lambda i, j, k: (i, k)),
                pl.BlockSpec((H_GATES_L0_TILE_N, H_GATES_L0_TILE_K), lambda i, j, k: (j, k)),
            ],
            out_specs=pl.BlockSpec((H_GATES_L0_TILE_M, H_GATES_L0_TILE_N), lambda i, j, k: (i, j)),
            scratch_shapes=[pltpu.VMEM((H_GATES_L0_TILE_M, H_GATES_L0_TILE_N), jnp.float32)],
            compiler_params=pltpu.CompilerParams(
                dimension_semantics=("parallel", "parallel", "arbitrary")
            ),
            name="h_gates_l0_kernel",
        )(h_l0, gru_weight_hh_l0)
        h_next_l0 = pl.pallas_call(
            h_next_l0_kernel,
            out_shape=jax.ShapeDtypeStruct((B, H), jnp.float32),
            grid=(pl.cdiv(B, min(B, H_NEXT_L0_TILE)), pl.cdiv(H, min(H, H_NEXT_L0_TILE))),
            in_specs=[
                pl.BlockSpec(
                    (None, min(B, H_NEXT_L0_TILE), min(H, H_NEXT_L0_TILE)),
                    lambda b_block, k_block: (1, b_block, k_block),
                ),
                pl.BlockSpec(
                    (None, min(B, H_NEXT_L0_TILE), min(H, H_NEXT_L0_TILE)),
                    lambda b_block, k_block: (1, b_block, k_block),
                ),
                pl.BlockSpec(
                    (None, 1, min(H, H_NEXT_L0_TILE)), lambda b_block, k_block: (1, 0, k_block)
                ),
                pl.BlockSpec(
                    (None, min(B, H_NEXT_L0_TILE), min(H, H_NEXT_L0_TILE)),
                    lambda b_block, k_block: (2, b_block, k_block),
                ),
                pl.BlockSpec(
                    (None, min(B, H_NEXT_L0_TILE), min(H, H_NEXT_L0_TILE)),
                    lambda b_block, k_block: (0, b_block, k_block),
                ),
                pl.BlockSpec(
                    (None, min(B, H_NEXT_L0_TILE), min(H, H_NEXT_L0_TILE)),
                    lambda b_block, k_block: (0, b_block, k_block),
                ),
                pl.BlockSpec(
                    (None, 1, min(H, H_NEXT_L0_TILE)), lambda b_block, k_block: (0, 0, k_block)
                ),
                pl.BlockSpec(
                    (None, min(B, H_NEXT_L0_TILE), min(H, H_NEXT_L0_TILE)),
                    lambda b_block, k_block: (2, b_block, k_block),
                ),
                pl.BlockSpec(
                    (None, 1, min(H, H_NEXT_L0_TILE)), lambda b_block, k_block: (2, 0, k_block)
                ),
                pl.BlockSpec(
                    (min(B, H_NEXT_L0_TILE), min(H, H_NEXT_L0_TILE)),
                    lambda b_block, k_block: (b_block, k_block),
                ),
            ],
            out_specs=pl.BlockSpec(
                (min(B, H_NEXT_L0_TILE), min(H, H_NEXT_L0_TILE)),
                lambda b_block, k_block: (b_block, k_block),
            ),
            name="h_next_l0_kernel",
        )(
            x_gates_l0_biased.reshape(B, 3, H).transpose(1, 0, 2),
            h_gates_l0.reshape(B, 3, H).transpose(1, 0, 2),
            gru_bias_hh_l0.reshape(3, 1, H),
            x_gates_l0_biased.reshape(B, 3, H).transpose(1, 0, 2),
            x_gates_l0_biased.reshape(B, 3, H).transpose(1, 0, 2),
            h_gates_l0.reshape(B, 3, H).transpose(1, 0, 2),
            gru_bias_hh_l0.reshape(3, 1, H),
            h_gates_l0.reshape(B, 3, H).transpose(1, 0, 2),
            gru_bias_hh_l0.reshape(3, 1, H),
            h_l0,
        )
        return h_next_l0, h_next_l0

    h_l0, y_l0 = jax.lax.scan(round_of_h_l0, h_l0, x_gates_l0_biased, length=T)
    x_gates_l1_biased = pl.pallas_call(
        x_gates_l1_kernel,
        out_shape=jax.ShapeDtypeStruct((T * B, GATES), jnp.float32),
        grid=(
            pl.cdiv(T * B, X_GATES_L1_TILE_M),
            pl.cdiv(GATES, X_GATES_L1_TILE_N),
            pl.cdiv(H, X_GATES_L1_TILE_K),
        ),
        in_specs=[
            pl.BlockSpec((X_GATES_L1_TILE_M, X_GATES_L1_TILE_K), lambda i, j, k: (i, k)),
            pl.BlockSpec((X_GATES_L1_TILE_N, X_GATES_L1_TILE_K), lambda i, j, k: (j, k)),
            pl.BlockSpec((1, X_GATES_L1_TILE_N), lambda i, j, k: (0, j)),
        ],
        out_specs=pl.BlockSpec((X_GATES_L1_TILE_M, X_GATES_L1_TILE_N), lambda i, j, k: (i, j)),
        scratch_shapes=[pltpu.VMEM((X_GATES_L1_TILE_M, X_GATES_L1_TILE_N), jnp.float32)],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary")
        ),
        name="x_gates_l1_kernel",
    )(y_l0.reshape(T * B, H), gru_weight_ih_l1, gru_bias_ih_l1.reshape(1, GATES))
    x_gates_l1_biased = x_gates_l1_biased.reshape(T, B, GATES)
    h_l1 = pl.pallas_call(
        h_l1_kernel,
        out_shape=jax.ShapeDtypeStruct((B, H), jnp.float32),
        grid=(pl.cdiv(B, min(B, H_L1_TILE)), pl.cdiv(H, min(H, H_L1_TILE))),
        in_specs=[
            pl.BlockSpec(
                (None, min(B, H_L1_TILE), min(H, H_L1_TILE)),
                lambda b_block, k_block: (1, b_block, k_block),
            ),
        ],
        out_specs=pl.BlockSpec(
            (min(B, H_L1_TILE), min(H, H_L1_TILE)), lambda b_block, k_block: (b_block, k_block)
        ),
        name="h_l1_kernel",
    )(h0)

    def round_of_h_l1(h_l1, x_gates_l1_biased):
        h_gates_l1 = pl.pallas_call(
            h_gates_l1_kernel,
            out_shape=jax.ShapeDtypeStruct((B, GATES), jnp.float32),
            grid=(
                pl.cdiv(B, H_GATES_L1_TILE_M),
                pl.cdiv(GATES, H_GATES_L1_TILE_N),
                pl.cdiv(H, H_GATES_L1_TILE_K),
            ),
            in_specs=[
                pl.BlockSpec((H_GATES_L1_TILE_M, H_GATES_L1_TILE_K), lambda i, j, k: (i, k)),
                pl.BlockSpec((H_GATES_L1_TILE_N, H_GATES_L1_TILE_K), lambda i, j, k: (j, k)),
            ],
            out_specs=pl.BlockSpec((H_GATES_L1_TILE_M, H_GATES_L1_TILE_N), lambda i, j, k: (i, j)),
            scratch_shapes=[pltpu.VMEM((H_GATES_L1_TILE_M, H_GATES_L1_TILE_N), jnp.float32)],
            compiler_params=pltpu.CompilerParams(
                dimension_semantics=("parallel", "parallel", "arbitrary")
            ),
            name="h_gates_l1_kernel",
        )(h_l1, gru_weight_hh_l1)
        h_next_l1 = pl.pallas_call(
            h_next_l1_kernel,
            out_shape=jax.ShapeDtypeStruct((B, H), jnp.float32),
            grid=(pl.cdiv(B, min(B, H_NEXT_L1_TILE)), pl.cdiv(H, min(H, H_NEXT_L1_TILE))),
            in_specs=[
                pl.BlockSpec(
                    (None, min(B, H_NEXT_L1_TILE), min(H, H_NEXT_L1_TILE)),
                    lambda b_block, k_block: (1, b_block, k_block),
                ),
                pl.BlockSpec(
                    (None, min(B, H_NEXT_L1_TILE), min(H, H_NEXT_L1_TILE)),
                    lambda b_block, k_block: (1, b_block, k_block),
                ),
                pl.BlockSpec(
                    (None, 1, min(H, H_NEXT_L1_TILE)), lambda b_block, k_block: (1, 0, k_block)
                ),
                pl.BlockSpec(
                    (None, min(B, H_NEXT_L1_TILE), min(H, H_NEXT_L1_TILE)),
                    lambda b_block, k_block: (2, b_block, k_block),
                ),
                pl.BlockSpec(
                    (None, min(B, H_NEXT_L1_TILE), min(H, H_NEXT_L1_TILE)),
                    lambda b_block, k_block: (0, b_block, k_block),
                ),
                pl.BlockSpec(
                    (None, min(B, H_NEXT_L1_TILE), min(H, H_NEXT_L1_TILE)),
                    lambda b_block, k_block: (0, b_block, k_block),
                ),
                pl.BlockSpec(
                    (None, 1, min(H, H_NEXT_L1_TILE)), lambda b_block, k_block: (0, 0, k_block)
                ),
                pl.BlockSpec(
                    (None, min(B, H_NEXT_L1_TILE), min(H, H_NEXT_L1_TILE)),
                    lambda b_block, k_block: (2, b_block, k_block),
                ),
                pl.BlockSpec(
                    (None, 1, min(H, H_NEXT_L1_TILE)), lambda b_block, k_block: (2, 0, k_block)
                ),
                pl.BlockSpec(
                    (min(B, H_NEXT_L1_TILE), min(H, H_NEXT_L1_TILE)),
                    lambda b_block, k_block: (b_block, k_block),
                ),
            ],
            out_specs=pl.BlockSpec(
                (min(B, H_NEXT_L1_TILE), min(H, H_NEXT_L1_TILE)),
                lambda b_block, k_block: (b_block, k_block),
            ),
            name="h_next_l1_kernel",
        )(
            x_gates_l1_biased.reshape(B, 3, H).transpose(1, 0, 2),
            h_gates_l1.reshape(B, 3, H).transpose(1, 0, 2),
            gru_bias_hh_l1.reshape(3, 1, H),
            x_gates_l1_biased.reshape(B, 3, H).transpose(1, 0, 2),
            x_gates_l1_biased.reshape(B, 3, H).transpose(1, 0, 2),
            h_gates_l1.reshape(B, 3, H).transpose(1, 0, 2),
            gru_bias_hh_l1.reshape(3, 1, H),
            h_gates_l1.reshape(B, 3, H).transpose(1, 0, 2),
            gru_bias_hh_l1.reshape(3, 1, H),
            h_l1,
        )
        return h_next_l1, h_next_l1

    h_l1, y1 = jax.lax.scan(round_of_h_l1, h_l1, x_gates_l1_biased, length=T)

    def y2_block(layer_block, b_block):
        return (layer_block, b_block)

    y2 = pl.pallas_call(
        hn_kernel,
        out_shape=jax.ShapeDtypeStruct((2, B * H), jnp.float32),
        grid=(pl.cdiv(2, min(2, HN_TILE)), pl.cdiv(B * H, min(B * H, HN_TILE))),
        in_specs=[
            pl.BlockSpec((1, min(B * H, HN_TILE)), lambda layer_block, b_block: (0, b_block)),
            pl.BlockSpec((1, min(B * H, HN_TILE)), lambda layer_block, b_block: (0, b_block)),
        ],
        out_specs=pl.BlockSpec((min(2, HN_TILE), min(B * H, HN_TILE)), y2_block),
        name="hn_kernel",
    )(h_l0.reshape(1, B * H), h_l1.reshape(1, B * H))
    y2 = y2.reshape((2, B, H))
    return y1, y2

"""relu(x @ weight.T + bias), float32: x[1000, 777], weight[1500, 777] -> y[1000, 1500]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
M, N, K = 1000, 1500, 777
# Parameters of this variant: the K axis of the grid is sequential, the tile of y stays in VMEM.
TILE_M, TILE_N, TILE_K = 256, 256, 256


def linear_relu_kernel(x, weight, bias, y, total):
    step = pl.program_id(2)

    @pl.when(step == 0)
    def _():
        total[...] = jnp.zeros_like(total)

    left, right = x[...], weight[...]
    if K % TILE_K:
        # The last blocks reach over the end of K. Both sides: 0 * NaN is NaN.
        inside = K - step * TILE_K
        left_k = jax.lax.broadcasted_iota(jnp.int32, (TILE_M, TILE_K), 1)
        right_k = jax.lax.broadcasted_iota(jnp.int32, (TILE_N, TILE_K), 1)
        left = jnp.where(left_k < inside, left, 0.0)
        right = jnp.where(right_k < inside, right, 0.0)
    total[...] += jax.lax.dot_general(
        left, right, (((1,), (1,)), ((), ())),
        precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32,
    )  # fmt: skip

    @pl.when(step == pl.num_programs(2) - 1)
    def _():
        y[...] = jnp.maximum(total[...] + bias[...], 0.0)


def linear_relu(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """relu(x @ weight.T + bias) for float32 arrays of shapes (M, K), (N, K), (N,)."""
    return pl.pallas_call(
        linear_relu_kernel,
        out_shape=jax.ShapeDtypeStruct((M, N), jnp.float32),
        grid=(pl.cdiv(M, TILE_M), pl.cdiv(N, TILE_N), pl.cdiv(K, TILE_K)),
        in_specs=[
            pl.BlockSpec((TILE_M, TILE_K), lambda i, j, k: (i, k)),
            pl.BlockSpec((TILE_N, TILE_K), lambda i, j, k: (j, k)),
            pl.BlockSpec((1, TILE_N), lambda i, j, k: (0, j)),
        ],
        out_specs=pl.BlockSpec((TILE_M, TILE_N), lambda i, j, k: (i, j)),
        scratch_shapes=[pltpu.VMEM((TILE_M, TILE_N), jnp.float32)],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary")
        ),
        name="linear_relu_kernel",
    )(x, weight, bias.reshape(1, N))

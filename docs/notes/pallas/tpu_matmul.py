"""Matrix product, float32: a[1000, 777] @ b[777, 1500] -> c[1000, 1500]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
M, N, K = 1000, 1500, 777
# Parameters of this variant: the K axis of the grid is sequential, the tile of c stays in VMEM.
TILE_M, TILE_N, TILE_K = 256, 256, 256


def matmul_kernel(a, b, c, total):
    step = pl.program_id(2)

    @pl.when(step == 0)
    def _():
        total[...] = jnp.zeros_like(total)

    left, right = a[...], b[...]
    if K % TILE_K:
        # The last blocks reach over the end of K. Both sides: 0 * NaN is NaN.
        inside = K - step * TILE_K
        left_k = jax.lax.broadcasted_iota(jnp.int32, (TILE_M, TILE_K), 1)
        right_k = jax.lax.broadcasted_iota(jnp.int32, (TILE_K, TILE_N), 0)
        left = jnp.where(left_k < inside, left, 0.0)
        right = jnp.where(right_k < inside, right, 0.0)
    total[...] += jnp.dot(
        left, right, precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )

    @pl.when(step == pl.num_programs(2) - 1)
    def _():
        c[...] = total[...]


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """a @ b for float32 arrays of shapes (M, K) and (K, N)."""
    return pl.pallas_call(
        matmul_kernel,
        out_shape=jax.ShapeDtypeStruct((M, N), jnp.float32),
        grid=(pl.cdiv(M, TILE_M), pl.cdiv(N, TILE_N), pl.cdiv(K, TILE_K)),
        in_specs=[
            pl.BlockSpec((TILE_M, TILE_K), lambda i, j, k: (i, k)),
            pl.BlockSpec((TILE_K, TILE_N), lambda i, j, k: (k, j)),
        ],
        out_specs=pl.BlockSpec((TILE_M, TILE_N), lambda i, j, k: (i, j)),
        scratch_shapes=[pltpu.VMEM((TILE_M, TILE_N), jnp.float32)],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary")
        ),
        name="matmul_kernel",
    )(a, b)

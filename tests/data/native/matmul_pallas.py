# SPDX-License-Identifier: Apache-2.0
# mkgen
# task = "matmul"
# backend = "pallas"
# entry = "matmul"
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

TILE, DEPTH = 256, 512


def matmul_kernel(a, b, y, total):
    """A tile of y = a b, summed over the last axis of the grid."""
    step = pl.program_id(2)

    @pl.when(step == 0)
    def _():
        total[...] = jnp.zeros_like(total)

    # beyond the end of a block lies what nobody wrote
    depth = step * DEPTH + jax.lax.broadcasted_iota(jnp.int32, (1, DEPTH), 1)
    left = jnp.where(depth < K, a[...], 0.0)
    right = jnp.where(depth.reshape(DEPTH, 1) < K, b[...], 0.0)
    total[...] += jnp.dot(
        left, right, precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )

    @pl.when(step == pl.num_programs(2) - 1)
    def _():
        y[...] = total[...]


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """The product of two matrices."""
    return pl.pallas_call(
        matmul_kernel,
        out_shape=jax.ShapeDtypeStruct((M, N), jnp.float32),
        grid=(pl.cdiv(M, TILE), pl.cdiv(N, TILE), pl.cdiv(K, DEPTH)),
        in_specs=[
            pl.BlockSpec((TILE, DEPTH), lambda i, j, k: (i, k)),
            pl.BlockSpec((DEPTH, TILE), lambda i, j, k: (k, j)),
        ],
        out_specs=pl.BlockSpec((TILE, TILE), lambda i, j, k: (i, j)),
        scratch_shapes=[pltpu.VMEM((TILE, TILE), jnp.float32)],
        name="matmul_kernel",
    )(a, b)

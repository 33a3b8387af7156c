import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
M, N, K = 4096, 4096, 1024
# Parameters of this variant.
TILE_M, TILE_N, TILE_K = 128, 512, 128


def linear_relu_kernel(x, weight, bias, y, total):
    step = pl.program_id(2)

    @pl.when(step == 0)
    def _():
        total[...] = jnp.zeros_like(total)

    # The last blocks reach over the end of the sum. Both sides are masked: 0 * NaN is NaN.
    inside = K - step * TILE_K
    left_depth = jax.lax.broadcasted_iota(jnp.int32, (TILE_M, TILE_K), 1)
    right_depth = jax.lax.broadcasted_iota(jnp.int32, (TILE_N, TILE_K), 1)
    total[...] += jax.lax.dot_general(
        jnp.where(left_depth < inside, x[...], 0.0),
        jnp.where(right_depth < inside, weight[...], 0.0),
        (((1,), (1,)), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )

    @pl.when(step == pl.num_programs(2) - 1)
    def _():
        linear_bias = total[...] + bias[...]
        y[...] = jnp.where(linear_bias < 0.0, 0.0, linear_bias)


def linear_relu(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """A linear layer and relu."""
    expected = (
        ("x", x, (M, K), jnp.float32),
        ("weight", weight, (N, K), jnp.float32),
        ("bias", bias, (N,), jnp.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")
    y = pl.pallas_call(
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
    return y

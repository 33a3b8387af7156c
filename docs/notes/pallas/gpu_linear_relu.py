"""relu(x @ weight.T + bias), float32: x[1000, 777], weight[1500, 777] -> y[1000, 1500]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

# Sizes. Everything below follows from them.
M, N, K = 1000, 1500, 777
# Parameters of this variant: a program makes one tile and loops over K itself.
TILE_M, TILE_N, TILE_K, WARPS, STAGES = 64, 64, 32, 4, 2


def linear_relu_kernel(x, weight, bias, y):
    first_m, first_n = pl.program_id(0) * TILE_M, pl.program_id(1) * TILE_N
    m, n = first_m + jnp.arange(TILE_M), first_n + jnp.arange(TILE_N)

    def add(step, total):
        start = step * TILE_K
        k = start + jnp.arange(TILE_K)
        block = x.at[pl.ds(first_m, TILE_M), pl.ds(start, TILE_K)]
        left = plgpu.load(block, mask=(m < M)[:, None] & (k < K)[None, :], other=0.0)
        block = weight.at[pl.ds(first_n, TILE_N), pl.ds(start, TILE_K)]
        mask = (n < N)[:, None] & (k < K)[None, :]
        right = plgpu.load(block, mask=mask, other=0.0).T
        return total + jnp.dot(left, right, precision=jax.lax.Precision.HIGHEST)

    total = jnp.zeros((TILE_M, TILE_N), jnp.float32)
    total = jax.lax.fori_loop(0, pl.cdiv(K, TILE_K), add, total)
    shift = plgpu.load(bias.at[pl.ds(first_n, TILE_N)], mask=n < N, other=0.0)
    total = jnp.maximum(total + shift[None, :], 0.0)
    tile = y.at[pl.ds(first_m, TILE_M), pl.ds(first_n, TILE_N)]
    plgpu.store(tile, total, mask=(m < M)[:, None] & (n < N)[None, :])


def linear_relu(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """relu(x @ weight.T + bias) for float32 arrays of shapes (M, K), (N, K), (N,)."""
    return pl.pallas_call(
        linear_relu_kernel,
        out_shape=jax.ShapeDtypeStruct((M, N), jnp.float32),
        grid=(pl.cdiv(M, TILE_M), pl.cdiv(N, TILE_N)),
        compiler_params=plgpu.CompilerParams(num_warps=WARPS, num_stages=STAGES),
        name="linear_relu_kernel",
    )(x, weight, bias)

"""Sum over the last axis, float32: x[4096, 100000] -> y[4096]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

# Sizes. Everything below follows from them.
ROWS, COLS = 4096, 100000
# Parameters of this variant: one program a row, BLOCK columns a round, partial sums by lane.
BLOCK, WARPS = 1024, 4


def row_sum_kernel(x, y):
    row = pl.program_id(0)

    def add(step, total):
        col = step * BLOCK + jnp.arange(BLOCK)
        block = x.at[row, pl.ds(step * BLOCK, BLOCK)]
        return total + plgpu.load(block, mask=col < COLS, other=0.0)

    total = jax.lax.fori_loop(0, pl.cdiv(COLS, BLOCK), add, jnp.zeros(BLOCK, jnp.float32))
    plgpu.store(y.at[row], jnp.sum(total))


def row_sum(x: jax.Array) -> jax.Array:
    """Row sums of a float32 array of shape (ROWS, COLS)."""
    return pl.pallas_call(
        row_sum_kernel,
        out_shape=jax.ShapeDtypeStruct((ROWS,), jnp.float32),
        grid=(ROWS,),
        compiler_params=plgpu.CompilerParams(num_warps=WARPS),
        name="row_sum_kernel",
    )(x)

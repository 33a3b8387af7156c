"""Sum over the last axis, float32: x[4096, 100000] -> y[4096]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
ROWS, COLS = 4096, 100000
# Parameters of this variant: the columns are a sequential grid axis, partial sums stay by lane.
ROW_BLOCK, COL_BLOCK = 64, 2048
LANES = 128


def row_sum_kernel(x, y, total):
    step = pl.program_id(1)

    @pl.when(step == 0)
    def _():
        total[...] = jnp.zeros_like(total)

    # The last block reaches over the end of the row: what lies there is undefined.
    col = step * COL_BLOCK + jax.lax.broadcasted_iota(jnp.int32, (ROW_BLOCK, COL_BLOCK), 1)
    value = jnp.where(col < COLS, x[...], 0.0)
    total[...] += sum(value[:, i : i + LANES] for i in range(0, COL_BLOCK, LANES))

    @pl.when(step == pl.num_programs(1) - 1)
    def _():
        y[...] = jnp.sum(total[...], axis=1, keepdims=True)


def row_sum(x: jax.Array) -> jax.Array:
    """Row sums of a float32 array of shape (ROWS, COLS)."""
    y = pl.pallas_call(
        row_sum_kernel,
        out_shape=jax.ShapeDtypeStruct((ROWS, 1), jnp.float32),
        grid=(pl.cdiv(ROWS, ROW_BLOCK), pl.cdiv(COLS, COL_BLOCK)),
        in_specs=[pl.BlockSpec((ROW_BLOCK, COL_BLOCK), lambda i, j: (i, j))],
        out_specs=pl.BlockSpec((ROW_BLOCK, 1), lambda i, j: (i, 0)),
        scratch_shapes=[pltpu.VMEM((ROW_BLOCK, LANES), jnp.float32)],
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        name="row_sum_kernel",
    )(x)
    return y.reshape(ROWS)

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
ROWS, COLS, SOURCES = 512, 4096, 4096
# Parameters of this variant.
TILE = 256


def added_kernel(index, values, added, total):
    row = pl.program_id(0)
    source_block = pl.program_id(2)

    @pl.when(source_block == 0)
    def _():
        total[...] = jnp.full_like(total, 0.0)

    index_value = index[...]
    values_value = values[...]
    source_down = source_block * min(SOURCES, TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(SOURCES, TILE), 1), 0
    )
    total[...] = total[...] + jnp.where(
        source_down < SOURCES, jnp.where(index_value == row, values_value, 0.0), 0.0
    )

    @pl.when(source_block == pl.cdiv(SOURCES, min(SOURCES, TILE)) - 1)
    def _():
        added[...] = jnp.sum(total[...], axis=0, keepdims=True)


def index_add_duplicates_kernel(x, added, y):
    x_value = x[...]
    added_value = added[...]
    y[...] = x_value + added_value


def index_add_duplicates(x: jax.Array, index: jax.Array, values: jax.Array) -> jax.Array:
    """Rows added to the rows that an index names; there are more of them, so that some meet."""
    expected = (
        ("x", x, (ROWS, COLS), jnp.float32),
        ("index", index, (SOURCES,), jnp.int32),
        ("values", values, (SOURCES, COLS), jnp.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")

    def index_block(row, col_block, source_block):
        return (source_block, 0)

    def values_block(row, col_block, source_block):
        return (source_block, col_block)

    def added_block(row, col_block, source_block):
        return (row, 0, col_block)

    added = pl.pallas_call(
        added_kernel,
        out_shape=jax.ShapeDtypeStruct((ROWS, 1, COLS), jnp.float32),
        grid=(ROWS, pl.cdiv(COLS, min(COLS, TILE)), pl.cdiv(SOURCES, min(SOURCES, TILE))),
        in_specs=[
            pl.BlockSpec((min(SOURCES, TILE), 1), index_block),
            pl.BlockSpec((min(SOURCES, TILE), min(COLS, TILE)), values_block),
        ],
        out_specs=pl.BlockSpec((None, 1, min(COLS, TILE)), added_block),
        scratch_shapes=[pltpu.VMEM((min(SOURCES, TILE), min(COLS, TILE)), jnp.float32)],
        name="added_kernel",
    )(index.reshape(SOURCES, 1), values)
    added = added.reshape((ROWS, COLS))

    def x_block(row_block, col_block):
        return (row_block, col_block)

    def added_block(row_block, col_block):
        return (row_block, col_block)

    def y_block(row_block, col_block):
        return (row_block, col_block)

    y = pl.pallas_call(
        index_add_duplicates_kernel,
        out_shape=jax.ShapeDtypeStruct((ROWS, COLS), jnp.float32),
        grid=(pl.cdiv(ROWS, min(ROWS, TILE)), pl.cdiv(COLS, min(COLS, TILE))),
        in_specs=[
            pl.BlockSpec((min(ROWS, TILE), min(COLS, TILE)), x_block),
            pl.BlockSpec((min(ROWS, TILE), min(COLS, TILE)), added_block),
        ],
        out_specs=pl.BlockSpec((min(ROWS, TILE), min(COLS, TILE)), y_block),
        name="index_add_duplicates_kernel",
    )(x, added)
    return y

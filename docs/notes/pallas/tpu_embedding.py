"""Embedding, float32: ids[4096] int32, table[30000, 768] -> y[4096, 768]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
TOKENS, ENTRIES, WIDTH = 4096, 30000, 768


def embedding_kernel(ids, row, y):
    y[...] = row[...]  # the index map of the block already chose the row


def embedding(ids: jax.Array, table: jax.Array) -> jax.Array:
    """table[ids]; ids are int32 of shape (TOKENS,), the table float32 of shape (ENTRIES, WIDTH)."""
    y = pl.pallas_call(
        embedding_kernel,
        out_shape=jax.ShapeDtypeStruct((TOKENS, 1, WIDTH), jnp.float32),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(TOKENS,),
            in_specs=[pl.BlockSpec((None, 1, WIDTH), lambda i, ids: (ids[i], 0, 0))],
            out_specs=pl.BlockSpec((None, 1, WIDTH), lambda i, ids: (i, 0, 0)),
        ),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("arbitrary",)),
        name="embedding_kernel",
    )(ids, table.reshape(ENTRIES, 1, WIDTH))  # a block of one row needs a middle axis of one
    return y.reshape(TOKENS, WIDTH)

"""Embedding, float32: ids[4096] int32, table[30000, 768] -> y[4096, 768]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

# Sizes. Everything below follows from them.
TOKENS, ENTRIES, WIDTH = 4096, 30000, 768
# Parameters of this variant: one program a token and BLOCK columns.
BLOCK, WARPS = 1024, 4


def embedding_kernel(ids, table, y):
    token, first = pl.program_id(0), pl.program_id(1) * BLOCK
    inside = first + jnp.arange(BLOCK) < WIDTH
    cols = pl.ds(first, BLOCK)
    row = plgpu.load(table.at[ids[token], cols], mask=inside, other=0.0)
    plgpu.store(y.at[token, cols], row, mask=inside)


def embedding(ids: jax.Array, table: jax.Array) -> jax.Array:
    """table[ids]; ids are int32 of shape (TOKENS,), the table float32 of shape (ENTRIES, WIDTH)."""
    return pl.pallas_call(
        embedding_kernel,
        out_shape=jax.ShapeDtypeStruct((TOKENS, WIDTH), jnp.float32),
        grid=(TOKENS, pl.cdiv(WIDTH, BLOCK)),
        compiler_params=plgpu.CompilerParams(num_warps=WARPS),
        name="embedding_kernel",
    )(ids, table)

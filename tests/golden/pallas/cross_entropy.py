import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Sizes. Everything below follows from them.
BATCH, CLASSES = 16384, 8192
# Parameters of this variant.
HIGHEST_TILE = 256
CROSS_ENTROPY_TILE = 256


def highest_part_kernel(logits, highest, best):
    classe_block = pl.program_id(1)

    @pl.when(classe_block == 0)
    def _():
        best[...] = jnp.full_like(best, -jnp.inf)

    logits_value = logits[...]
    classe_down = classe_block * min(CLASSES, HIGHEST_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(CLASSES, HIGHEST_TILE), 1), 0
    )
    best[...] = jnp.maximum(best[...], jnp.where(classe_down < CLASSES, logits_value, -jnp.inf))

    @pl.when(classe_block == pl.cdiv(CLASSES, min(CLASSES, HIGHEST_TILE)) - 1)
    def _():
        highest[...] = jnp.max(best[...], axis=0, keepdims=True)


def highest_kernel(logits, highest, total, total2):
    classe_block = pl.program_id(1)

    @pl.when(classe_block == 0)
    def _():
        total2[...] = jnp.full_like(total2, 0.0)

    logits_value = logits[...]
    highest_value = highest[...]
    classe_down = classe_block * min(CLASSES, HIGHEST_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(CLASSES, HIGHEST_TILE), 1), 0
    )
    total2[...] = total2[...] + jnp.where(
        classe_down < CLASSES, jnp.exp(logits_value - highest_value), 0.0
    )

    @pl.when(classe_block == pl.cdiv(CLASSES, min(CLASSES, HIGHEST_TILE)) - 1)
    def _():
        total[...] = jnp.sum(total2[...], axis=0, keepdims=True)


def logits_rows_kernel(label, logits, logits_rows, total):
    logits_at_block = pl.program_id(1)

    @pl.when(logits_at_block == 0)
    def _():
        total[...] = jnp.full_like(total, 0.0)

    logits_at = logits_at_block * min(CLASSES, CROSS_ENTROPY_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (min(CLASSES, CROSS_ENTROPY_TILE), 1), 0
    )
    label_value = label[...]
    logits_value = logits[...]
    total[...] = total[...] + jnp.where(
        logits_at < CLASSES,
        jnp.where(jnp.where(label_value != -100, label_value, 0) == logits_at, logits_value, 0.0),
        0.0,
    )

    @pl.when(logits_at_block == pl.cdiv(CLASSES, min(CLASSES, CROSS_ENTROPY_TILE)) - 1)
    def _():
        logits_rows[...] = jnp.sum(total[...], axis=0, keepdims=True)


def total2_kernel(label, total, highest, logits_rows, total2, total3):
    batch_block = pl.program_id(0)

    @pl.when(batch_block == 0)
    def _():
        total3[...] = jnp.full_like(total3, 0.0)

    label_value = label[...]
    total_value = total[...]
    highest_value = highest[...]
    logits_rows_value = logits_rows[...]
    batch_across = batch_block * min(BATCH, 32 * CROSS_ENTROPY_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (1, min(BATCH, 32 * CROSS_ENTROPY_TILE)), 1
    )
    total3[...] = total3[...] + jnp.where(
        batch_across < BATCH,
        jnp.where(
            label_value != -100, jnp.log(total_value) + (highest_value - logits_rows_value), 0.0
        ),
        0.0,
    )

    @pl.when(batch_block == pl.cdiv(BATCH, min(BATCH, 32 * CROSS_ENTROPY_TILE)) - 1)
    def _():
        total2[...] = jnp.sum(total3[...], axis=1, keepdims=True)


def total_weight_kernel(label, total_weight, total):
    batch_block = pl.program_id(0)

    @pl.when(batch_block == 0)
    def _():
        total[...] = jnp.full_like(total, 0.0)

    label_value = label[...]
    batch_across = batch_block * min(BATCH, 32 * CROSS_ENTROPY_TILE) + jax.lax.broadcasted_iota(
        jnp.int32, (1, min(BATCH, 32 * CROSS_ENTROPY_TILE)), 1
    )
    total[...] = total[...] + jnp.where(
        batch_across < BATCH, jnp.where(label_value != -100, 1.0, 0.0), 0.0
    )

    @pl.when(batch_block == pl.cdiv(BATCH, min(BATCH, 32 * CROSS_ENTROPY_TILE)) - 1)
    def _():
        total_weight[...] = jnp.sum(total[...], axis=1, keepdims=True)


def cross_entropy_kernel(total2, total_weight, y):
    total2_value = total2[...]
    total_weight_value = total_weight[...]
    y[...] = total2_value / total_weight_value


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Cross entropy of class indices; the mean over the batch."""
    expected = (
        ("logits", logits, (BATCH, CLASSES), jnp.float32),
        ("label", label, (BATCH,), jnp.int32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")

    def logits_block(batch_block, classe_block):
        return (classe_block, batch_block)

    def highest_block(batch_block, classe_block):
        return (0, batch_block)

    highest = pl.pallas_call(
        highest_part_kernel,
        out_shape=jax.ShapeDtypeStruct((1, BATCH), jnp.float32),
        grid=(
            pl.cdiv(BATCH, min(BATCH, HIGHEST_TILE)), pl.cdiv(CLASSES, min(CLASSES, HIGHEST_TILE))
        ),
        in_specs=[
            pl.BlockSpec((min(CLASSES, HIGHEST_TILE), min(BATCH, HIGHEST_TILE)), logits_block),
        ],
        out_specs=pl.BlockSpec((1, min(BATCH, HIGHEST_TILE)), highest_block),
        scratch_shapes=[
            pltpu.VMEM((min(CLASSES, HIGHEST_TILE), min(BATCH, HIGHEST_TILE)), jnp.float32)
        ],
        name="highest_part_kernel",
    )(logits.transpose(1, 0))
    highest = highest.reshape((BATCH,))

    def logits_block(batch_block, classe_block):
        return (classe_block, batch_block)

    def highest_block(batch_block, classe_block):
        return (0, batch_block)

    def total_block(batch_block, classe_block):
        return (0, batch_block)

    total = pl.pallas_call(
        highest_kernel,
        out_shape=jax.ShapeDtypeStruct((1, BATCH), jnp.float32),
        grid=(
            pl.cdiv(BATCH, min(BATCH, HIGHEST_TILE)), pl.cdiv(CLASSES, min(CLASSES, HIGHEST_TILE))
        ),
        in_specs=[
            pl.BlockSpec((min(CLASSES, HIGHEST_TILE), min(BATCH, HIGHEST_TILE)), logits_block),
            pl.BlockSpec((1, min(BATCH, HIGHEST_TILE)), highest_block),
        ],
        out_specs=pl.BlockSpec((1, min(BATCH, HIGHEST_TILE)), total_block),
        scratch_shapes=[
            pltpu.VMEM((min(CLASSES, HIGHEST_TILE), min(BATCH, HIGHEST_TILE)), jnp.float32)
        ],
        name="highest_kernel",
    )(logits.transpose(1, 0), highest.reshape(1, BATCH))
    total = total.reshape((BATCH,))

    def label_block(batch_block, logits_at_block):
        return (0, batch_block)

    def logits_block(batch_block, logits_at_block):
        return (logits_at_block, batch_block)

    def logits_rows_block(batch_block, logits_at_block):
        return (0, batch_block)

    logits_rows = pl.pallas_call(
        logits_rows_kernel,
        out_shape=jax.ShapeDtypeStruct((1, BATCH), jnp.float32),
        grid=(
            pl.cdiv(BATCH, min(BATCH, CROSS_ENTROPY_TILE)),
            pl.cdiv(CLASSES, min(CLASSES, CROSS_ENTROPY_TILE)),
        ),
        in_specs=[
            pl.BlockSpec((1, min(BATCH, CROSS_ENTROPY_TILE)), label_block),
            pl.BlockSpec(
                (min(CLASSES, CROSS_ENTROPY_TILE), min(BATCH, CROSS_ENTROPY_TILE)), logits_block
            ),
        ],
        out_specs=pl.BlockSpec((1, min(BATCH, CROSS_ENTROPY_TILE)), logits_rows_block),
        scratch_shapes=[
            pltpu.VMEM(
                (min(CLASSES, CROSS_ENTROPY_TILE), min(BATCH, CROSS_ENTROPY_TILE)), jnp.float32
            )
        ],
        name="logits_rows_kernel",
    )(label.reshape(1, BATCH), logits.transpose(1, 0))
    logits_rows = logits_rows.reshape((BATCH,))

    total2 = pl.pallas_call(
        total2_kernel,
        out_shape=jax.ShapeDtypeStruct((1, 1), jnp.float32),
        grid=(pl.cdiv(BATCH, min(BATCH, 32 * CROSS_ENTROPY_TILE)),),
        in_specs=[
            pl.BlockSpec(
                (1, min(BATCH, 32 * CROSS_ENTROPY_TILE)), lambda batch_block: (0, batch_block)
            ),
            pl.BlockSpec(
                (1, min(BATCH, 32 * CROSS_ENTROPY_TILE)), lambda batch_block: (0, batch_block)
            ),
            pl.BlockSpec(
                (1, min(BATCH, 32 * CROSS_ENTROPY_TILE)), lambda batch_block: (0, batch_block)
            ),
            pl.BlockSpec(
                (1, min(BATCH, 32 * CROSS_ENTROPY_TILE)), lambda batch_block: (0, batch_block)
            ),
        ],
        out_specs=pl.BlockSpec((1, 1), lambda batch_block: (0, 0)),
        scratch_shapes=[pltpu.VMEM((1, min(BATCH, 32 * CROSS_ENTROPY_TILE)), jnp.float32)],
        name="total2_kernel",
    )(
        label.reshape(1, BATCH),
        total.reshape(1, BATCH),
        highest.reshape(1, BATCH),
        logits_rows.reshape(1, BATCH),
    )
    total2 = total2.reshape(())

    total_weight = pl.pallas_call(
        total_weight_kernel,
        out_shape=jax.ShapeDtypeStruct((1, 1), jnp.float32),
        grid=(pl.cdiv(BATCH, min(BATCH, 32 * CROSS_ENTROPY_TILE)),),
        in_specs=[
            pl.BlockSpec(
                (1, min(BATCH, 32 * CROSS_ENTROPY_TILE)), lambda batch_block: (0, batch_block)
            ),
        ],
        out_specs=pl.BlockSpec((1, 1), lambda batch_block: (0, 0)),
        scratch_shapes=[pltpu.VMEM((1, min(BATCH, 32 * CROSS_ENTROPY_TILE)), jnp.float32)],
        name="total_weight_kernel",
    )(label.reshape(1, BATCH))
    total_weight = total_weight.reshape(())

    y = pl.pallas_call(
        cross_entropy_kernel,
        out_shape=jax.ShapeDtypeStruct((1, 1), jnp.float32),
        grid=(1,),
        in_specs=[
            pl.BlockSpec((1, 1), lambda only: (0, 0)),
            pl.BlockSpec((1, 1), lambda only: (0, 0)),
        ],
        out_specs=pl.BlockSpec((1, 1), lambda only: (0, 0)),
        name="cross_entropy_kernel",
    )(total2.reshape(1, 1), total_weight.reshape(1, 1))
    y = y.reshape(())
    return y

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

# Sizes. Everything below follows from them.
N, C, H, W, P, Q = 16, 32, 128, 128, 256, 256
# Parameters of this variant.
TILE = 256


def bilinear_resize_kernel(x, x2, x3, x4, y):
    p = pl.program_id(0)
    q = pl.program_id(1)
    x_value = x[...]
    x_value2 = x2[...]
    x_value3 = x3[...]
    x_value4 = x4[...]
    h_at = 0.5 * (p.astype(jnp.float32) + 0.5) - 0.5
    h_source = jnp.where(h_at < 0.0, 0.0, h_at)
    h_floor = jnp.floor(h_source)
    h_fraction = h_source - h_floor
    w_at = 0.5 * (q.astype(jnp.float32) + 0.5) - 0.5
    w_source = jnp.where(w_at < 0.0, 0.0, w_at)
    w_floor = jnp.floor(w_source)
    w_fraction = w_source - w_floor
    at_h0 = (1.0 - w_fraction) * x_value + w_fraction * x_value2
    at_h1 = (1.0 - w_fraction) * x_value3 + w_fraction * x_value4
    y[...] = (1.0 - h_fraction) * at_h0 + h_fraction * at_h1


def bilinear_resize(x: jax.Array) -> jax.Array:
    """Bilinear resize to twice the size, corners not aligned."""
    expected = (
        ("x", x, (N, C, H, W), jnp.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")

    def x_block(p, q, i_block):
        return (
            jnp.minimum(
                jnp.floor(
                    jnp.where(
                        0.5 * (p.astype(jnp.float32) + 0.5) - 0.5 < 0.0,
                        0.0,
                        0.5 * (p.astype(jnp.float32) + 0.5) - 0.5,
                    )
                ).astype(jnp.int32),
                H - 1,
            ),
            jnp.minimum(
                jnp.floor(
                    jnp.where(
                        0.5 * (q.astype(jnp.float32) + 0.5) - 0.5 < 0.0,
                        0.0,
                        0.5 * (q.astype(jnp.float32) + 0.5) - 0.5,
                    )
                ).astype(jnp.int32),
                W - 1,
            ),
            0,
            i_block,
        )

    def x2_block(p, q, i_block):
        return (
            jnp.minimum(
                jnp.floor(
                    jnp.where(
                        0.5 * (p.astype(jnp.float32) + 0.5) - 0.5 < 0.0,
                        0.0,
                        0.5 * (p.astype(jnp.float32) + 0.5) - 0.5,
                    )
                ).astype(jnp.int32),
                H - 1,
            ),
            jnp.minimum(
                jnp.floor(
                    jnp.where(
                        0.5 * (q.astype(jnp.float32) + 0.5) - 0.5 < 0.0,
                        0.0,
                        0.5 * (q.astype(jnp.float32) + 0.5) - 0.5,
                    )
                ).astype(jnp.int32) + 1,
                W - 1,
            ),
            0,
            i_block,
        )

    def x3_block(p, q, i_block):
        return (
            jnp.minimum(
                jnp.floor(
                    jnp.where(
                        0.5 * (p.astype(jnp.float32) + 0.5) - 0.5 < 0.0,
                        0.0,
                        0.5 * (p.astype(jnp.float32) + 0.5) - 0.5,
                    )
                ).astype(jnp.int32) + 1,
                H - 1,
            ),
            jnp.minimum(
                jnp.floor(
                    jnp.where(
                        0.5 * (q.astype(jnp.float32) + 0.5) - 0.5 < 0.0,
                        0.0,
                        0.5 * (q.astype(jnp.float32) + 0.5) - 0.5,
                    )
                ).astype(jnp.int32),
                W - 1,
            ),
            0,
            i_block,
        )

    def x4_block(p, q, i_block):
        return (
            jnp.minimum(
                jnp.floor(
                    jnp.where(
                        0.5 * (p.astype(jnp.float32) + 0.5) - 0.5 < 0.0,
                        0.0,
                        0.5 * (p.astype(jnp.float32) + 0.5) - 0.5,
                    )
                ).astype(jnp.int32) + 1,
                H - 1,
            ),
            jnp.minimum(
                jnp.floor(
                    jnp.where(
                        0.5 * (q.astype(jnp.float32) + 0.5) - 0.5 < 0.0,
                        0.0,
                        0.5 * (q.astype(jnp.float32) + 0.5) - 0.5,
                    )
                ).astype(jnp.int32) + 1,
                W - 1,
            ),
            0,
            i_block,
        )

    y = pl.pallas_call(
        bilinear_resize_kernel,
        out_shape=jax.ShapeDtypeStruct((P, Q, 1, N * C), jnp.float32),
        grid=(P, Q, pl.cdiv(N * C, min(N * C, 32 * TILE))),
        in_specs=[
            pl.BlockSpec((None, None, 1, min(N * C, 32 * TILE)), x_block),
            pl.BlockSpec((None, None, 1, min(N * C, 32 * TILE)), x2_block),
            pl.BlockSpec((None, None, 1, min(N * C, 32 * TILE)), x3_block),
            pl.BlockSpec((None, None, 1, min(N * C, 32 * TILE)), x4_block),
        ],
        out_specs=pl.BlockSpec(
            (None, None, 1, min(N * C, 32 * TILE)), lambda p, q, i_block: (p, q, 0, i_block)
        ),
        name="bilinear_resize_kernel",
    )(
        x.reshape(N * C, H, W).transpose(1, 2, 0).reshape(H, W, 1, N * C),
        x.reshape(N * C, H, W).transpose(1, 2, 0).reshape(H, W, 1, N * C),
        x.reshape(N * C, H, W).transpose(1, 2, 0).reshape(H, W, 1, N * C),
        x.reshape(N * C, H, W).transpose(1, 2, 0).reshape(H, W, 1, N * C),
    )
    y = y.reshape(P, Q, N * C).transpose(2, 0, 1).reshape((N, C, P, Q))
    return y

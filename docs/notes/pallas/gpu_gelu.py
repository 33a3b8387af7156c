"""gelu(x + bias), exact (erf) form, float32: x[4096, 1000], bias[1000] -> y[4096, 1000]."""
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

# Sizes. Everything below follows from them.
ROWS, COLS = 4096, 1000
# Parameters of this variant.
BLOCK, WARPS = 1024, 4


def erf(x):
    """erf to 3e-7: Eigen's rational approximation, since Pallas has no erf for Triton."""
    x = jnp.clip(x, -4.0, 4.0)
    square = x * x
    top = -2.72614225801306e-10
    for factor in (
        2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04,
        -2.95459980854025e-03, -1.60960333262415e-02,
    ):  # fmt: skip
        top = top * square + factor
    bottom = -1.45660718464996e-05
    for factor in (
        -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02
    ):
        bottom = bottom * square + factor
    return x * top / bottom


def gelu_kernel(x, bias, y):
    row, first = pl.program_id(0), pl.program_id(1) * BLOCK
    inside = first + jnp.arange(BLOCK) < COLS
    cols = pl.ds(first, BLOCK)
    value = plgpu.load(x.at[row, cols], mask=inside, other=0.0)
    value += plgpu.load(bias.at[cols], mask=inside, other=0.0)
    result = 0.5 * value * (1.0 + erf(value * 0.7071067811865476))
    plgpu.store(y.at[row, cols], result, mask=inside)


def gelu(x: jax.Array, bias: jax.Array) -> jax.Array:
    """gelu(x + bias) of float32 arrays of shapes (ROWS, COLS) and (COLS,)."""
    return pl.pallas_call(
        gelu_kernel,
        out_shape=jax.ShapeDtypeStruct((ROWS, COLS), jnp.float32),
        grid=(ROWS, pl.cdiv(COLS, BLOCK)),
        compiler_params=plgpu.CompilerParams(num_warps=WARPS),
        name="gelu_kernel",
    )(x, bias)

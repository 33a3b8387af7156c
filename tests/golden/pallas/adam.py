import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

# Sizes. Everything below follows from them.
SIZE = 33554432
# Parameters of this variant.
LERP_TILE = 256
ADD_TILE = 256
SUB_TILE = 256


def lerp_kernel(mean, gradient, y2):
    mean_value = mean[...]
    gradient_value = gradient[...]
    y2[...] = mean_value + 0.1 * (gradient_value - mean_value)


def add_kernel(square, gradient, y3):
    square_value = square[...]
    gradient_value = gradient[...]
    y3[...] = square_value * 0.999 + gradient_value * 0.001 * gradient_value


def sub_kernel(parameter, mean, gradient, square, y1):
    parameter_value = parameter[...]
    mean_value = mean[...]
    gradient_value = gradient[...]
    square_value = square[...]
    lerp = mean_value + 0.1 * (gradient_value - mean_value)
    div = lerp / 0.65132153
    mul_3 = div * 0.001
    add = square_value * 0.999 + gradient_value * 0.001 * gradient_value
    div_1 = add / 0.009955119
    sqrt = jnp.sqrt(div_1)
    add_1 = sqrt + 1e-08
    div_2 = mul_3 / add_1
    y1[...] = parameter_value - div_2


def adam(
    parameter: jax.Array, gradient: jax.Array, mean: jax.Array, square: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A step of Adam: new parameters and both moments, at step 10."""
    expected = (
        ("parameter", parameter, (SIZE,), jnp.float32),
        ("gradient", gradient, (SIZE,), jnp.float32),
        ("mean", mean, (SIZE,), jnp.float32),
        ("square", square, (SIZE,), jnp.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype:
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")
    y2 = pl.pallas_call(
        lerp_kernel,
        out_shape=jax.ShapeDtypeStruct((1, SIZE), jnp.float32),
        grid=(pl.cdiv(SIZE, min(SIZE, 32 * LERP_TILE)),),
        in_specs=[
            pl.BlockSpec((1, min(SIZE, 32 * LERP_TILE)), lambda size_block: (0, size_block)),
            pl.BlockSpec((1, min(SIZE, 32 * LERP_TILE)), lambda size_block: (0, size_block)),
        ],
        out_specs=pl.BlockSpec((1, min(SIZE, 32 * LERP_TILE)), lambda size_block: (0, size_block)),
        name="lerp_kernel",
    )(mean.reshape(1, SIZE), gradient.reshape(1, SIZE))
    y2 = y2.reshape((SIZE,))
    y3 = pl.pallas_call(
        add_kernel,
        out_shape=jax.ShapeDtypeStruct((1, SIZE), jnp.float32),
        grid=(pl.cdiv(SIZE, min(SIZE, 32 * ADD_TILE)),),
        in_specs=[
            pl.BlockSpec((1, min(SIZE, 32 * ADD_TILE)), lambda size_block: (0, size_block)),
            pl.BlockSpec((1, min(SIZE, 32 * ADD_TILE)), lambda size_block: (0, size_block)),
        ],
        out_specs=pl.BlockSpec((1, min(SIZE, 32 * ADD_TILE)), lambda size_block: (0, size_block)),
        name="add_kernel",
    )(square.reshape(1, SIZE), gradient.reshape(1, SIZE))
    y3 = y3.reshape((SIZE,))
    y1 = pl.pallas_call(
        sub_kernel,
        out_shape=jax.ShapeDtypeStruct((1, SIZE), jnp.float32),
        grid=(pl.cdiv(SIZE, min(SIZE, 32 * SUB_TILE)),),
        in_specs=[
            pl.BlockSpec((1, min(SIZE, 32 * SUB_TILE)), lambda size_block: (0, size_block)),
            pl.BlockSpec((1, min(SIZE, 32 * SUB_TILE)), lambda size_block: (0, size_block)),
            pl.BlockSpec((1, min(SIZE, 32 * SUB_TILE)), lambda size_block: (0, size_block)),
            pl.BlockSpec((1, min(SIZE, 32 * SUB_TILE)), lambda size_block: (0, size_block)),
        ],
        out_specs=pl.BlockSpec((1, min(SIZE, 32 * SUB_TILE)), lambda size_block: (0, size_block)),
        name="sub_kernel",
    )(
        parameter.reshape(1, SIZE),
        mean.reshape(1, SIZE),
        gradient.reshape(1, SIZE),
        square.reshape(1, SIZE),
    )
    y1 = y1.reshape((SIZE,))
    return y1, y2, y3

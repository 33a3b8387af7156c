import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
SIZE = 33554432
# Parameters of this variant.
LERP_BLOCK, LERP_WARPS = 4096, 4
ADD_BLOCK, ADD_WARPS = 4096, 4
SUB_BLOCK, SUB_WARPS = 4096, 4


@triton.jit
def lerp_kernel(gradient, mean, y2, SIZE: tl.constexpr, LERP_BLOCK: tl.constexpr):
    size = tl.program_id(0) * LERP_BLOCK + tl.arange(0, LERP_BLOCK)
    inside = size < SIZE
    mean_value = tl.load(mean + size, mask=inside, other=0.0)
    gradient_value = tl.load(gradient + size, mask=inside, other=0.0)
    tl.store(y2 + size, mean_value + 0.1 * (gradient_value - mean_value), mask=inside)


@triton.jit
def add_kernel(gradient, square, y3, SIZE: tl.constexpr, ADD_BLOCK: tl.constexpr):
    size = tl.program_id(0) * ADD_BLOCK + tl.arange(0, ADD_BLOCK)
    inside = size < SIZE
    square_value = tl.load(square + size, mask=inside, other=0.0)
    gradient_value = tl.load(gradient + size, mask=inside, other=0.0)
    tl.store(y3 + size, square_value * 0.999 + gradient_value * 0.001 * gradient_value, mask=inside)


@triton.jit
def sub_kernel(parameter, gradient, mean, square, y1, SIZE: tl.constexpr, SUB_BLOCK: tl.constexpr):
    size = tl.program_id(0) * SUB_BLOCK + tl.arange(0, SUB_BLOCK)
    inside = size < SIZE
    parameter_value = tl.load(parameter + size, mask=inside, other=0.0)
    mean_value = tl.load(mean + size, mask=inside, other=0.0)
    gradient_value = tl.load(gradient + size, mask=inside, other=0.0)
    lerp = mean_value + 0.1 * (gradient_value - mean_value)
    div = lerp / 0.65132153
    mul_3 = div * 0.001
    square_value = tl.load(square + size, mask=inside, other=0.0)
    add = square_value * 0.999 + gradient_value * 0.001 * gradient_value
    div_1 = add / 0.009955119
    sqrt2 = tl.sqrt(div_1)
    add_1 = sqrt2 + 1e-08
    div_2 = mul_3 / add_1
    tl.store(y1 + size, parameter_value - div_2, mask=inside)


def adam(
    parameter: torch.Tensor, gradient: torch.Tensor, mean: torch.Tensor, square: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A step of Adam: new parameters and both moments, at step 10."""
    expected = (
        ("parameter", parameter, (SIZE,), torch.float32),
        ("gradient", gradient, (SIZE,), torch.float32),
        ("mean", mean, (SIZE,), torch.float32),
        ("square", square, (SIZE,), torch.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y1 = torch.empty((SIZE,), dtype=torch.float32, device=parameter.device)
    y2 = torch.empty((SIZE,), dtype=torch.float32, device=parameter.device)
    y3 = torch.empty((SIZE,), dtype=torch.float32, device=parameter.device)
    grid = (triton.cdiv(SIZE, LERP_BLOCK),)
    lerp_kernel[grid](
        gradient, mean, y2, SIZE, LERP_BLOCK,
        num_warps=LERP_WARPS, num_stages=1,
    )
    grid = (triton.cdiv(SIZE, ADD_BLOCK),)
    add_kernel[grid](
        gradient, square, y3, SIZE, ADD_BLOCK,
        num_warps=ADD_WARPS, num_stages=1,
    )
    grid = (triton.cdiv(SIZE, SUB_BLOCK),)
    sub_kernel[grid](
        parameter, gradient, mean, square, y1, SIZE, SUB_BLOCK,
        num_warps=SUB_WARPS, num_stages=1,
    )
    return y1, y2, y3

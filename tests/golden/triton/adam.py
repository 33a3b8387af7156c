import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
SIZE = 33554432
# Parameters of this variant.
BLOCK, WARPS = 4096, 4


@triton.jit
def adam_kernel(
    parameter, gradient, mean, square, y2, y3, y1, SIZE: tl.constexpr, BLOCK: tl.constexpr,
):
    size = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = size < SIZE
    mean_value = tl.load(mean + size, mask=inside, other=0.0)
    gradient_value = tl.load(gradient + size, mask=inside, other=0.0)
    lerp = mean_value + 0.1 * (gradient_value - mean_value)
    square_value = tl.load(square + size, mask=inside, other=0.0)
    add = square_value * 0.999 + gradient_value * 0.001 * gradient_value
    parameter_value = tl.load(parameter + size, mask=inside, other=0.0)
    div = lerp / 0.65132153
    mul_3 = div * 0.001
    div_1 = add / 0.009955119
    sqrt2 = tl.sqrt(div_1)
    add_1 = sqrt2 + 1e-08
    div_2 = mul_3 / add_1
    tl.store(y2 + size, lerp, mask=inside)
    tl.store(y3 + size, add, mask=inside)
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
    grid = (triton.cdiv(SIZE, BLOCK),)
    adam_kernel[grid](
        parameter, gradient, mean, square, y2, y3, y1, SIZE, BLOCK,
        num_warps=WARPS, num_stages=1,
    )
    return y1, y2, y3

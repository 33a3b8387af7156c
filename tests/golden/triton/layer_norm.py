import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
ROWS, COLS = 8192, 4096
# Parameters of this variant.
BLOCK, WARPS = 4096, 4


@triton.jit
def layer_norm_kernel(x, weight, bias, y, COLS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    col = tl.arange(0, BLOCK)
    inside = col < COLS
    x_value = tl.load(x + row * COLS + col, mask=inside, other=0.0)
    total = tl.sum(tl.where(inside, x_value, 0.0), axis=0)
    mean = total / COLS
    centered = x_value - mean
    squares = tl.sum(tl.where(inside, centered * centered, 0.0), axis=0)
    inverse_deviation = tl.rsqrt(squares / COLS + 1e-05)
    weight_value = tl.load(weight + col, mask=inside, other=0.0)
    bias_value = tl.load(bias + col, mask=inside, other=0.0)
    tl.store(
        y + row * COLS + col, centered * inverse_deviation * weight_value + bias_value, mask=inside
    )


def layer_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Layer normalisation over the last axis, with weight and bias."""
    expected = (
        ("x", x, (ROWS, COLS), torch.float32),
        ("weight", weight, (COLS,), torch.float32),
        ("bias", bias, (COLS,), torch.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y = torch.empty((ROWS, COLS), dtype=torch.float32, device=x.device)
    grid = (ROWS,)
    layer_norm_kernel[grid](
        x, weight, bias, y, COLS, BLOCK,
        num_warps=WARPS, num_stages=1,
    )
    return y

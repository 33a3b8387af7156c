import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
ROWS, COLS = 8192, 4096
# Parameters of this variant.
BLOCK, WARPS = 4096, 4


@triton.jit
def bias_gelu_kernel(x, bias, y, ROWS: tl.constexpr, COLS: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < ROWS * COLS
    col = i % COLS
    x_value = tl.load(x + i, mask=inside, other=0.0)
    bias_value = tl.load(bias + col, mask=inside, other=0.0)
    add = x_value + bias_value
    tl.store(y + i, 0.5 * add * (1.0 + tl.erf(add * 0.70710677)), mask=inside)


def bias_gelu(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """gelu(x + bias), the bias broadcast over the rows."""
    expected = (
        ("x", x, (ROWS, COLS), torch.float32),
        ("bias", bias, (COLS,), torch.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y = torch.empty((ROWS, COLS), dtype=torch.float32, device=x.device)
    grid = (triton.cdiv(ROWS * COLS, BLOCK),)
    bias_gelu_kernel[grid](
        x, bias, y, ROWS, COLS, BLOCK,
        num_warps=WARPS, num_stages=1,
    )
    return y

import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
M, N, K = 4096, 4096, 1024
# Parameters of this variant.
TILE_M, TILE_N, TILE_K, WARPS, STAGES = 64, 128, 16, 4, 2


@triton.jit
def linear_relu_kernel(
    x, weight, bias, y, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, TILE_M: tl.constexpr,
    TILE_N: tl.constexpr, TILE_K: tl.constexpr,
):
    # A product of matrices: m walks the rows, n the columns, the sum runs over k.
    m = tl.program_id(1) * TILE_M + tl.arange(0, TILE_M)[:, None]
    n = tl.program_id(0) * TILE_N + tl.arange(0, TILE_N)[None, :]
    total = tl.zeros((TILE_M, TILE_N), tl.float32)
    for first in range(0, K, TILE_K):
        k = first + tl.arange(0, TILE_K)[None, :]
        inside = (m < M) & (k < K)
        x_value = tl.load(x + m * K + k, mask=inside, other=0.0)
        k = first + tl.arange(0, TILE_K)[:, None]
        inside = (k < K) & (n < N)
        weight_value = tl.load(weight + n * K + k, mask=inside, other=0.0)
        total = tl.dot(x_value, weight_value, total, input_precision="ieee")
    row_inside, col_inside = m < M, n < N
    bias_value = tl.load(bias + n, mask=col_inside, other=0.0)
    linear_bias = total + bias_value
    tl.store(
        y + m * N + n, tl.where(linear_bias < 0.0, 0.0, linear_bias), mask=row_inside & col_inside
    )


def linear_relu(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """A linear layer and relu."""
    expected = (
        ("x", x, (M, K), torch.float32),
        ("weight", weight, (N, K), torch.float32),
        ("bias", bias, (N,), torch.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y = torch.empty((M, N), dtype=torch.float32, device=x.device)
    grid = (triton.cdiv(N, TILE_N), triton.cdiv(M, TILE_M))
    linear_relu_kernel[grid](
        x, weight, bias, y, M, N, K, TILE_M, TILE_N, TILE_K,
        num_warps=WARPS, num_stages=STAGES,
    )
    return y

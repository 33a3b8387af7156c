import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
M, N, K = 4096, 4096, 4096
# Parameters of this variant.
TILE_M, TILE_N, TILE_K, WARPS, STAGES, GROUP = 128, 128, 32, 8, 3, 8


@triton.jit
def unsplittable(value):
    """1 where three bfloat16 cannot add up to `value`: one would overflow, or the last vanish."""
    size = tl.abs(value)
    return ((size > 3.38e38) | ((size < 1e-30) & (size != 0.0))).to(tl.int32)


@triton.jit
def matmul_kernel(
    a, b, y, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, TILE_M: tl.constexpr,
    TILE_N: tl.constexpr, TILE_K: tl.constexpr, GROUP: tl.constexpr,
):
    # A product of matrices: m walks the rows, n the columns, the sum runs over k.
    tile_m, tile_n = tl.swizzle2d(
        tl.program_id(1), tl.program_id(0), tl.num_programs(1), tl.num_programs(0), GROUP
    )
    m = tile_m * TILE_M + tl.arange(0, TILE_M)[:, None]
    n = tile_n * TILE_N + tl.arange(0, TILE_N)[None, :]
    left_strange = tl.zeros((TILE_M, TILE_K), tl.int32)
    right_strange = tl.zeros((TILE_K, TILE_N), tl.int32)
    total = tl.zeros((TILE_M, TILE_N), tl.float32)
    for first in range(0, K, TILE_K):
        k = first + tl.arange(0, TILE_K)[None, :]
        inside = (m < M) & (k < K)
        a_value = tl.load(a + m * K + k, mask=inside, other=0.0)
        left = a_value
        k = first + tl.arange(0, TILE_K)[:, None]
        inside = (k < K) & (n < N)
        b_value = tl.load(b + k * N + n, mask=inside, other=0.0)
        right = b_value
        total = tl.dot(left, right, total, input_precision="bf16x6")
        left_strange |= unsplittable(left)
        right_strange |= unsplittable(right)
    strange = tl.max(tl.max(left_strange, 1), 0) + tl.max(tl.max(right_strange, 1), 0)
    if strange != 0:
        total = tl.zeros((TILE_M, TILE_N), tl.float32)
        for first in range(0, K, TILE_K):
            k = first + tl.arange(0, TILE_K)[None, :]
            inside = (m < M) & (k < K)
            a_value = tl.load(a + m * K + k, mask=inside, other=0.0)
            k = first + tl.arange(0, TILE_K)[:, None]
            inside = (k < K) & (n < N)
            b_value = tl.load(b + k * N + n, mask=inside, other=0.0)
            total = tl.dot(a_value, b_value, total, input_precision="ieee")
    row_inside, col_inside = m < M, n < N
    tl.store(y + m * N + n, total, mask=row_inside & col_inside)


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The product of two matrices."""
    expected = (
        ("a", a, (M, K), torch.float32),
        ("b", b, (K, N), torch.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y = torch.empty((M, N), dtype=torch.float32, device=a.device)
    grid = (triton.cdiv(N, TILE_N), triton.cdiv(M, TILE_M))
    matmul_kernel[grid](
        a, b, y, M, N, K, TILE_M, TILE_N, TILE_K, GROUP,
        num_warps=WARPS, num_stages=STAGES,
    )
    return y

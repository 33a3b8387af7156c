import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
N, C, H, W, K, R = 32, 64, 56, 56, 64, 3
S, PAD_H, PAD_W, P, Q = 3, 1, 1, 56, 56
# Parameters of this variant.
TILE_M, TILE_N, TILE_K, WARPS, STAGES = 32, 64, 16, 8, 2


@triton.jit
def conv2d_kernel(
    x, weight, y, N: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    K: tl.constexpr, R: tl.constexpr, S: tl.constexpr, PAD_H: tl.constexpr, PAD_W: tl.constexpr,
    P: tl.constexpr, Q: tl.constexpr, TILE_M: tl.constexpr, TILE_N: tl.constexpr,
    TILE_K: tl.constexpr,
):
    # A product of matrices: k walks the rows, (n, p, q) the columns, the sum runs over (c, r, s).
    k = tl.program_id(1) * TILE_M + tl.arange(0, TILE_M)[:, None]
    col = tl.program_id(0) * TILE_N + tl.arange(0, TILE_N)[None, :]
    total = tl.zeros((TILE_M, TILE_N), tl.float32)
    for first in range(0, C * R * S, TILE_K):
        depth = first + tl.arange(0, TILE_K)[None, :]
        inside = (k < K) & (depth < C * R * S)
        weight_value = tl.load(weight + k * C * R * S + depth, mask=inside, other=0.0)
        depth = first + tl.arange(0, TILE_K)[:, None]
        inside = (depth < C * R * S) & (col < N * P * Q)
        n = col // (P * Q)
        p = (col // Q) % P
        q = col % Q
        c = depth // (R * S)
        r = (depth // S) % R
        s = depth % S
        h = p + r - PAD_H
        w = q + s - PAD_W
        x_value = tl.load(
            x + ((n * C + c) * H + h) * W + w,
            mask=inside & (0 <= h) & (h < H) & (0 <= w) & (w < W),
            other=0.0,
        )
        total = tl.dot(weight_value, x_value, total, input_precision="ieee")
    row_inside, col_inside = k < K, col < N * P * Q
    n = col // (P * Q)
    p = (col // Q) % P
    q = col % Q
    tl.store(y + ((n * K + k) * P + p) * Q + q, total, mask=row_inside & col_inside)


def conv2d(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """2-D convolution, 3 by 3, padding 1."""
    expected = (
        ("x", x, (N, C, H, W), torch.float32),
        ("weight", weight, (K, C, R, S), torch.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y = torch.empty((N, K, P, Q), dtype=torch.float32, device=x.device)
    grid = (triton.cdiv(N * P * Q, TILE_N), triton.cdiv(K, TILE_M))
    conv2d_kernel[grid](
        x, weight, y, N, C, H, W, K, R, S, PAD_H, PAD_W, P, Q, TILE_M, TILE_N, TILE_K,
        num_warps=WARPS, num_stages=STAGES,
    )
    return y

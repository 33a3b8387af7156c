import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
N, C, H, W, K, R = 32, 256, 56, 56, 256, 3
S, PAD_H, PAD_W, P, Q, GROUPS = 3, 1, 1, 56, 56, 4
GROUP_C, GROUP_K = 64, 64
# Parameters of this variant.
TILE_M, TILE_N, TILE_K, WARPS, STAGES, GROUP = 64, 128, 16, 8, 2, 1


@triton.jit
def grouped_conv2d_kernel(
    x, weight, bias, y, N: tl.constexpr, H: tl.constexpr, W: tl.constexpr, R: tl.constexpr,
    S: tl.constexpr, PAD_H: tl.constexpr, PAD_W: tl.constexpr, P: tl.constexpr, Q: tl.constexpr,
    GROUPS: tl.constexpr, GROUP_C: tl.constexpr, GROUP_K: tl.constexpr, TILE_M: tl.constexpr,
    TILE_N: tl.constexpr, TILE_K: tl.constexpr,
):
    # A product of matrices: k walks the rows, (n, p, q) the columns, the sum runs over (c, r, s).
    k = tl.program_id(1) * TILE_M + tl.arange(0, TILE_M)[:, None]
    col = tl.program_id(0) * TILE_N + tl.arange(0, TILE_N)[None, :]
    g = tl.program_id(2)
    total = tl.zeros((TILE_M, TILE_N), tl.float32)
    for first in range(0, GROUP_C * R * S, TILE_K):
        depth = first + tl.arange(0, TILE_K)[None, :]
        inside = (k < GROUP_K) & (depth < GROUP_C * R * S)
        weight_value = tl.load(
            weight + (g * GROUP_K + k) * GROUP_C * R * S + depth, mask=inside, other=0.0
        )
        depth = first + tl.arange(0, TILE_K)[:, None]
        inside = (depth < GROUP_C * R * S) & (col < N * P * Q)
        n = col // (P * Q)
        p = (col // Q) % P
        q = col % Q
        c = depth // (R * S)
        r = (depth // S) % R
        s = depth % S
        h = p + r - PAD_H
        w = q + s - PAD_W
        x_value = tl.load(
            x + (((n * GROUPS + g) * GROUP_C + c) * H + h) * W + w,
            mask=inside & (0 <= h) & (h < H) & (0 <= w) & (w < W),
            other=0.0,
        )
        total = tl.dot(weight_value, x_value, total, input_precision="ieee")
    row_inside, col_inside = k < GROUP_K, col < N * P * Q
    n = col // (P * Q)
    p = (col // Q) % P
    q = col % Q
    bias_value = tl.load(bias + g * GROUP_K + k, mask=row_inside, other=0.0)
    tl.store(
        y + (((n * GROUPS + g) * GROUP_K + k) * P + p) * Q + q,
        total + bias_value,
        mask=row_inside & col_inside,
    )


def grouped_conv2d(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """2-D convolution in four groups, 3 by 3, padding 1, with bias."""
    expected = (
        ("x", x, (N, C, H, W), torch.float32),
        ("weight", weight, (K, C // 4, R, S), torch.float32),
        ("bias", bias, (K,), torch.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y = torch.empty((N, K, P, Q), dtype=torch.float32, device=x.device)
    grid = (triton.cdiv(N * P * Q, TILE_N), triton.cdiv(GROUP_K, TILE_M), GROUPS)
    grouped_conv2d_kernel[grid](
        x, weight, bias, y, N, H, W, R, S, PAD_H, PAD_W, P, Q, GROUPS, GROUP_C, GROUP_K, TILE_M,
        TILE_N, TILE_K,
        num_warps=WARPS, num_stages=STAGES,
    )
    return y

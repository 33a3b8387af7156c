import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
N, C, D, H, W, K = 4, 64, 16, 32, 32, 32
T, R, S, STRIDE_D, STRIDE_H, STRIDE_W = 3, 3, 3, 2, 2, 2
PAD_D, PAD_H, PAD_W, O, P, Q = 1, 1, 1, 32, 64, 64
# Parameters of this variant.
TILE_M, TILE_N, TILE_K, WARPS, STAGES = 32, 256, 16, 4, 2


@triton.jit
def conv_transpose3d_kernel(
    x, weight, y, N: tl.constexpr, C: tl.constexpr, D: tl.constexpr, H: tl.constexpr,
    W: tl.constexpr, K: tl.constexpr, T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    STRIDE_D: tl.constexpr, STRIDE_H: tl.constexpr, STRIDE_W: tl.constexpr, PAD_D: tl.constexpr,
    PAD_H: tl.constexpr, PAD_W: tl.constexpr, O: tl.constexpr, P: tl.constexpr, Q: tl.constexpr,
    TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr,
):
    # A product of matrices: k walks the rows, (n, o, p, q) the columns, the sum runs over (c, t, r,
    # s).
    k = tl.program_id(1) * TILE_M + tl.arange(0, TILE_M)[:, None]
    col = tl.program_id(0) * TILE_N + tl.arange(0, TILE_N)[None, :]
    total = tl.zeros((TILE_M, TILE_N), tl.float32)
    for first in range(0, C * T * R * S, TILE_K):
        depth = first + tl.arange(0, TILE_K)[None, :]
        inside = (k < K) & (depth < C * T * R * S)
        c = depth // (T * R * S)
        t = (depth // (R * S)) % T
        r = (depth // S) % R
        s = depth % S
        weight_value = tl.load(
            weight + (((c * K + k) * T + t) * R + r) * S + s, mask=inside, other=0.0
        )
        depth = first + tl.arange(0, TILE_K)[:, None]
        inside = (depth < C * T * R * S) & (col < N * O * P * Q)
        n = col // (O * P * Q)
        o = (col // (P * Q)) % O
        p = (col // Q) % P
        q = col % Q
        c = depth // (T * R * S)
        t = (depth // (R * S)) % T
        r = (depth // S) % R
        s = depth % S
        d = (o + PAD_D - t) // STRIDE_D
        remainder = (o + PAD_D - t) % STRIDE_D
        h = (p + PAD_H - r) // STRIDE_H
        remainder2 = (p + PAD_H - r) % STRIDE_H
        w = (q + PAD_W - s) // STRIDE_W
        remainder3 = (q + PAD_W - s) % STRIDE_W
        x_value = tl.load(
            x + (((n * C + c) * D + d) * H + h) * W + w,
            mask=inside & (0 <= d) & (d < D) & (remainder == 0) & (0 <= h) & (h < H) & (
                remainder2 == 0
            ) & (0 <= w) & (w < W) & (remainder3 == 0),
            other=0.0,
        )
        total = tl.dot(weight_value, x_value, total, input_precision="ieee")
    row_inside, col_inside = k < K, col < N * O * P * Q
    n = col // (O * P * Q)
    o = (col // (P * Q)) % O
    p = (col // Q) % P
    q = col % Q
    tl.store(y + (((n * K + k) * O + o) * P + p) * Q + q, total, mask=row_inside & col_inside)


def conv_transpose3d(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Transposed 3-D convolution, 3 by 3 by 3, stride 2, padding 1, output padding 1."""
    expected = (
        ("x", x, (N, C, D, H, W), torch.float32),
        ("weight", weight, (C, K, T, R, S), torch.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y = torch.empty((N, K, O, P, Q), dtype=torch.float32, device=x.device)
    grid = (triton.cdiv(N * O * P * Q, TILE_N), triton.cdiv(K, TILE_M))
    conv_transpose3d_kernel[grid](
        x, weight, y, N, C, D, H, W, K, T, R, S, STRIDE_D, STRIDE_H, STRIDE_W, PAD_D, PAD_H,
        PAD_W, O, P, Q, TILE_M, TILE_N, TILE_K,
        num_warps=WARPS, num_stages=STAGES,
    )
    return y

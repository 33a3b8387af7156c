import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
N, C, H, W, R, S = 32, 128, 112, 112, 3, 3
PAD_H, PAD_W, P, Q = 1, 1, 112, 112
# Parameters of this variant.
BLOCK, WARPS = 1024, 4


@triton.jit
def depthwise_conv2d_kernel(
    x, weight, y, N: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    R: tl.constexpr, S: tl.constexpr, PAD_H: tl.constexpr, PAD_W: tl.constexpr, P: tl.constexpr,
    Q: tl.constexpr, BLOCK: tl.constexpr,
):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = row < N * C * P * Q
    n = row // (C * P * Q)
    c = (row // (P * Q)) % C
    p = (row // Q) % P
    q = row % Q
    total = tl.full((BLOCK,), 0.0, tl.float32)
    for r in range(R):
        for s in range(S):
            h = p + r - PAD_H
            w = q + s - PAD_W
            x_value = tl.load(
                x + ((n * C + c) * H + h) * W + w,
                mask=inside & (0 <= h) & (h < H) & (0 <= w) & (w < W),
                other=0.0,
            )
            weight_value = tl.load(weight + (c * R + r) * S + s, mask=inside, other=0.0)
            total = total + x_value * weight_value
    tl.store(y + row, total, mask=inside)


def depthwise_conv2d(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Depthwise 2-D convolution: each channel by its own 3 by 3 filter, padding 1."""
    expected = (
        ("x", x, (N, C, H, W), torch.float32),
        ("weight", weight, (C, 1, R, S), torch.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y = torch.empty((N, C, P, Q), dtype=torch.float32, device=x.device)
    grid = (triton.cdiv(N * C * P * Q, BLOCK),)
    depthwise_conv2d_kernel[grid](
        x, weight, y, N, C, H, W, R, S, PAD_H, PAD_W, P, Q, BLOCK,
        num_warps=WARPS, num_stages=1,
    )
    return y

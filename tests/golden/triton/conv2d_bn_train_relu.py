import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
N, C, K, H, W, PAD_H = 32, 64, 128, 56, 56, 1
PAD_W, P, Q = 1, 56, 56
# Parameters of this variant.
CONV2D_TILE_M, CONV2D_TILE_N, CONV2D_TILE_K, CONV2D_WARPS, CONV2D_STAGES = 64, 64, 16, 8, 2
RELU_BLOCK, RELU_WARPS = 512, 8
BATCH_COUNT_BLOCK, BATCH_COUNT_WARPS = 512, 4


@triton.jit
def conv2d_kernel(
    conv_weight, x, conv2d, N: tl.constexpr, C: tl.constexpr, K: tl.constexpr, H: tl.constexpr,
    W: tl.constexpr, PAD_H: tl.constexpr, PAD_W: tl.constexpr, P: tl.constexpr, Q: tl.constexpr,
    CONV2D_TILE_M: tl.constexpr, CONV2D_TILE_N: tl.constexpr, CONV2D_TILE_K: tl.constexpr,
):
    # A product of matrices: k walks the rows, (n, p, q) the columns, the sum runs over (c, r, s).
    k = tl.program_id(1) * CONV2D_TILE_M + tl.arange(0, CONV2D_TILE_M)[:, None]
    col = tl.program_id(0) * CONV2D_TILE_N + tl.arange(0, CONV2D_TILE_N)[None, :]
    total = tl.zeros((CONV2D_TILE_M, CONV2D_TILE_N), tl.float32)
    for first in range(0, C * 3 * 3, CONV2D_TILE_K):
        depth = first + tl.arange(0, CONV2D_TILE_K)[None, :]
        inside = (k < K) & (depth < C * 3 * 3)
        conv_weight_value = tl.load(conv_weight + k * C * 3 * 3 + depth, mask=inside, other=0.0)
        depth = first + tl.arange(0, CONV2D_TILE_K)[:, None]
        inside = (depth < C * 3 * 3) & (col < N * P * Q)
        n = col // (P * Q)
        p = (col // Q) % P
        q = col % Q
        c = depth // 9
        r = (depth // 3) % 3
        s = depth % 3
        h = p + r - PAD_H
        w = q + s - PAD_W
        x_value = tl.load(
            x + ((n * C + c) * H + h) * W + w,
            mask=inside & (0 <= h) & (h < H) & (0 <= w) & (w < W),
            other=0.0,
        )
        total = tl.dot(conv_weight_value, x_value, total, input_precision="ieee")
    row_inside, col_inside = k < K, col < N * P * Q
    n = col // (P * Q)
    p = (col // Q) % P
    q = col % Q
    tl.store(conv2d + ((n * K + k) * P + p) * Q + q, total, mask=row_inside & col_inside)


@triton.jit
def relu_kernel(
    conv_bias, norm_weight, norm_bias, norm_running_mean, norm_running_var, conv2d, y,
    N: tl.constexpr, K: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, RELU_BLOCK: tl.constexpr,
):
    k = tl.program_id(0)
    parts = tl.full((RELU_BLOCK,), 0.0, tl.float32)
    for first in range(0, N * P * Q, RELU_BLOCK):
        col = first + tl.arange(0, RELU_BLOCK)
        inside = col < N * P * Q
        n = col // (P * Q)
        i = col % (P * Q)
        conv2d_value = tl.load(conv2d + (n * K + k) * P * Q + i, mask=inside, other=0.0)
        conv_bias_value = tl.load(conv_bias + k)
        parts = parts + tl.where(inside, conv2d_value + conv_bias_value, 0.0)
    total = tl.sum(parts, axis=0)
    mean = total / (N * P * Q)
    parts = tl.full((RELU_BLOCK,), 0.0, tl.float32)
    for first in range(0, N * P * Q, RELU_BLOCK):
        col = first + tl.arange(0, RELU_BLOCK)
        inside = col < N * P * Q
        n = col // (P * Q)
        i = col % (P * Q)
        conv2d_value = tl.load(conv2d + (n * K + k) * P * Q + i, mask=inside, other=0.0)
        conv_bias_value = tl.load(conv_bias + k)
        centered = conv2d_value + conv_bias_value - mean
        parts = parts + tl.where(inside, centered * centered, 0.0)
    squares = tl.sum(parts, axis=0)
    inverse_deviation = tl.rsqrt(squares / (N * P * Q) + 1e-05)
    for first in range(0, N * P * Q, RELU_BLOCK):
        col = first + tl.arange(0, RELU_BLOCK)
        inside = col < N * P * Q
        n = col // (P * Q)
        i = col % (P * Q)
        conv2d_value = tl.load(conv2d + (n * K + k) * P * Q + i, mask=inside, other=0.0)
        conv_bias_value = tl.load(conv_bias + k)
        centered = conv2d_value + conv_bias_value - mean
        norm_weight_value = tl.load(norm_weight + k)
        norm_bias_value = tl.load(norm_bias + k)
        batch_norm = centered * inverse_deviation * norm_weight_value + norm_bias_value
        tl.store(
            y + (n * K + k) * P * Q + i, tl.where(batch_norm < 0.0, 0.0, batch_norm), mask=inside
        )
    norm_running_mean_value = tl.load(norm_running_mean + k)
    norm_running_var_value = tl.load(norm_running_var + k)
    tl.store(norm_running_mean + k, 0.9 * norm_running_mean_value + 0.1 * mean)
    tl.store(norm_running_var + k, 0.9 * norm_running_var_value + 0.1 * (squares / (N * P * Q - 1)))


@triton.jit
def batch_count_kernel(norm_num_batches_tracked, BATCH_COUNT_BLOCK: tl.constexpr):
    i = tl.program_id(0) * BATCH_COUNT_BLOCK + tl.arange(0, BATCH_COUNT_BLOCK)
    inside = i < 1
    norm_num_batches_tracked_value = tl.load(norm_num_batches_tracked)
    tl.store(norm_num_batches_tracked, norm_num_batches_tracked_value + 1)


def conv2d_bn_train_relu(
    conv_weight: torch.Tensor,
    conv_bias: torch.Tensor,
    norm_weight: torch.Tensor,
    norm_bias: torch.Tensor,
    norm_running_mean: torch.Tensor,
    norm_running_var: torch.Tensor,
    norm_num_batches_tracked: torch.Tensor,
    x: torch.Tensor,
) -> torch.Tensor:
    """Convolution, batch normalisation in training, and relu."""
    expected = (
        ("conv_weight", conv_weight, (K, C, 3, 3), torch.float32),
        ("conv_bias", conv_bias, (K,), torch.float32),
        ("norm_weight", norm_weight, (K,), torch.float32),
        ("norm_bias", norm_bias, (K,), torch.float32),
        ("norm_running_mean", norm_running_mean, (K,), torch.float32),
        ("norm_running_var", norm_running_var, (K,), torch.float32),
        ("norm_num_batches_tracked", norm_num_batches_tracked, (), torch.int64),
        ("x", x, (N, C, H, W), torch.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y = torch.empty((N, K, P, Q), dtype=torch.float32, device=conv_weight.device)
    conv2d = torch.empty((N, K, P, Q), dtype=torch.float32, device=conv_weight.device)
    grid = (triton.cdiv(N * P * Q, CONV2D_TILE_N), triton.cdiv(K, CONV2D_TILE_M))
    conv2d_kernel[grid](
        conv_weight, x, conv2d, N, C, K, H, W, PAD_H, PAD_W, P, Q, CONV2D_TILE_M, CONV2D_TILE_N,
        CONV2D_TILE_K,
        num_warps=CONV2D_WARPS, num_stages=CONV2D_STAGES,
    )
    grid = (K,)
    relu_kernel[grid](
        conv_bias, norm_weight, norm_bias, norm_running_mean, norm_running_var, conv2d, y, N, K,
        P, Q, RELU_BLOCK,
        num_warps=RELU_WARPS, num_stages=1,
    )
    grid = (1,)
    batch_count_kernel[grid](
        norm_num_batches_tracked, BATCH_COUNT_BLOCK,
        num_warps=BATCH_COUNT_WARPS, num_stages=1,
    )
    return y

import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
B, H, T, D = 4, 16, 1024, 64
# Parameters of this variant.
SCORES_TILE_M, SCORES_TILE_N, SCORES_TILE_K, SCORES_WARPS, SCORES_STAGES = 128, 128, 16, 8, 2
WEIGHTS_BLOCK, WEIGHTS_WARPS = 1024, 16
ATTENTION_TILE_M, ATTENTION_TILE_N, ATTENTION_TILE_K, ATTENTION_WARPS = 64, 64, 16, 8
ATTENTION_STAGES = 2


@triton.jit
def row_max(value):
    """The largest value; NaN wins, as in PyTorch."""
    return tl.max(value, axis=0) + tl.sum(tl.where(value != value, value, 0.0), axis=0)


@triton.jit
def scores_kernel(
    q, k, scores, T: tl.constexpr, D: tl.constexpr, SCORES_TILE_M: tl.constexpr,
    SCORES_TILE_N: tl.constexpr, SCORES_TILE_K: tl.constexpr,
):
    # A product of matrices: t walks the rows, tt the columns, the sum runs over d.
    t = tl.program_id(1) * SCORES_TILE_M + tl.arange(0, SCORES_TILE_M)[:, None]
    tt = tl.program_id(0) * SCORES_TILE_N + tl.arange(0, SCORES_TILE_N)[None, :]
    batch = tl.program_id(2)
    total = tl.zeros((SCORES_TILE_M, SCORES_TILE_N), tl.float32)
    for first in range(0, D, SCORES_TILE_K):
        d = first + tl.arange(0, SCORES_TILE_K)[None, :]
        inside = (t < T) & (d < D)
        q_value = tl.load(q + (batch * T + t) * D + d, mask=inside, other=0.0)
        d = first + tl.arange(0, SCORES_TILE_K)[:, None]
        inside = (d < D) & (tt < T)
        k_value = tl.load(k + (batch * T + tt) * D + d, mask=inside, other=0.0)
        total = tl.dot(q_value, k_value, total)
    row_inside, col_inside = t < T, tt < T
    tl.store(scores + (batch * T + t) * T + tt, total, mask=row_inside & col_inside)


@triton.jit
def weights_kernel(scores, weights, T: tl.constexpr, D: tl.constexpr, WEIGHTS_BLOCK: tl.constexpr):
    row = tl.program_id(0)
    t = row % T
    tt = tl.arange(0, WEIGHTS_BLOCK)
    inside = tt < T
    masked = tl.where(
        tt <= t,
        tl.load(
            scores + row * T + tt, mask=inside, other=0.0
        ) * tl.rsqrt(tl.full((), D, tl.float32)),
        -float("inf"),
    )
    highest = row_max(tl.where(inside, masked, -float("inf")))
    weight = tl.exp(masked - highest)
    total = tl.sum(tl.where(inside, weight, 0.0), axis=0)
    tl.store(weights + row * T + tt, weight / total, mask=inside)


@triton.jit
def attention_kernel(
    v, weights, y, T: tl.constexpr, D: tl.constexpr, ATTENTION_TILE_M: tl.constexpr,
    ATTENTION_TILE_N: tl.constexpr, ATTENTION_TILE_K: tl.constexpr,
):
    # A product of matrices: t walks the rows, d the columns, the sum runs over tt.
    t = tl.program_id(1) * ATTENTION_TILE_M + tl.arange(0, ATTENTION_TILE_M)[:, None]
    d = tl.program_id(0) * ATTENTION_TILE_N + tl.arange(0, ATTENTION_TILE_N)[None, :]
    batch = tl.program_id(2)
    total = tl.zeros((ATTENTION_TILE_M, ATTENTION_TILE_N), tl.float32)
    for first in range(0, T, ATTENTION_TILE_K):
        tt = first + tl.arange(0, ATTENTION_TILE_K)[None, :]
        inside = (t < T) & (tt < T)
        weights_value = tl.load(weights + (batch * T + t) * T + tt, mask=inside, other=0.0)
        tt = first + tl.arange(0, ATTENTION_TILE_K)[:, None]
        inside = (tt < T) & (d < D)
        v_value = tl.load(v + (batch * T + tt) * D + d, mask=inside, other=0.0).to(tl.float32)
        total = tl.dot(weights_value, v_value, total, input_precision="ieee")
    row_inside, col_inside = t < T, d < D
    tl.store(y + (batch * T + t) * D + d, total, mask=col_inside & row_inside)


def causal_attention_fp16(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Causal attention in float16."""
    expected = (
        ("q", q, (B, H, T, D), torch.float16),
        ("k", k, (B, H, T, D), torch.float16),
        ("v", v, (B, H, T, D), torch.float16),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y = torch.empty((B, H, T, D), dtype=torch.float16, device=q.device)
    scores = torch.empty((B, H, T, T), dtype=torch.float32, device=q.device)
    weights = torch.empty((B, H, T, T), dtype=torch.float32, device=q.device)
    grid = (triton.cdiv(T, SCORES_TILE_N), triton.cdiv(T, SCORES_TILE_M), B * H)
    scores_kernel[grid](
        q, k, scores, T, D, SCORES_TILE_M, SCORES_TILE_N, SCORES_TILE_K,
        num_warps=SCORES_WARPS, num_stages=SCORES_STAGES,
    )
    grid = (B * H * T,)
    weights_kernel[grid](
        scores, weights, T, D, WEIGHTS_BLOCK,
        num_warps=WEIGHTS_WARPS, num_stages=1,
    )
    grid = (triton.cdiv(D, ATTENTION_TILE_N), triton.cdiv(T, ATTENTION_TILE_M), B * H)
    attention_kernel[grid](
        v, weights, y, T, D, ATTENTION_TILE_M, ATTENTION_TILE_N, ATTENTION_TILE_K,
        num_warps=ATTENTION_WARPS, num_stages=ATTENTION_STAGES,
    )
    return y

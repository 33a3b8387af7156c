import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
B, T, D, HEADS = 8, 1024, 768, 12
# Parameters of this variant.
LAYER_NORM_BLOCK, LAYER_NORM_WARPS = 1024, 4
LINEAR_TILE_M, LINEAR_TILE_N, LINEAR_TILE_K, LINEAR_WARPS, LINEAR_STAGES = 64, 64, 32, 8, 2
LINEAR_GROUP = 8
SCORES_TILE_M, SCORES_TILE_N, SCORES_TILE_K, SCORES_WARPS, SCORES_STAGES = 64, 64, 16, 4, 2
WEIGHTS_BLOCK, WEIGHTS_WARPS = 1024, 16
ATTENTION_TILE_M, ATTENTION_TILE_N, ATTENTION_TILE_K, ATTENTION_WARPS = 64, 32, 16, 8
ATTENTION_STAGES = 2
LINEAR_1_TILE_M, LINEAR_1_TILE_N, LINEAR_1_TILE_K, LINEAR_1_WARPS = 32, 64, 16, 8
LINEAR_1_STAGES = 2
LAYER_NORM_1_BLOCK, LAYER_NORM_1_WARPS = 1024, 4
LINEAR_2_TILE_M, LINEAR_2_TILE_N, LINEAR_2_TILE_K, LINEAR_2_WARPS = 64, 128, 32, 8
LINEAR_2_STAGES, LINEAR_2_GROUP = 2, 8
LINEAR_3_TILE_M, LINEAR_3_TILE_N, LINEAR_3_TILE_K, LINEAR_3_WARPS = 64, 64, 32, 4
LINEAR_3_STAGES, LINEAR_3_GROUP = 2, 8


@triton.jit
def row_max(value):
    """The largest value; NaN wins, as in PyTorch."""
    return tl.max(value, axis=0) + tl.sum(tl.where(value != value, value, 0.0), axis=0)


@triton.jit
def unsplittable(value):
    """1 where three bfloat16 cannot add up to `value`: one would overflow, or the last vanish."""
    size = tl.abs(value)
    return ((size > 3.38e38) | ((size < 1e-30) & (size != 0.0))).to(tl.int32)


@triton.jit
def layer_norm_kernel(
    norm1_weight, norm1_bias, x, layer_norm, D: tl.constexpr, LAYER_NORM_BLOCK: tl.constexpr,
):
    i = tl.program_id(0)
    d = tl.arange(0, LAYER_NORM_BLOCK)
    inside = d < D
    x_value = tl.load(x + i * D + d, mask=inside, other=0.0)
    total = tl.sum(tl.where(inside, x_value, 0.0), axis=0)
    mean = total / D
    centered = x_value - mean
    squares = tl.sum(tl.where(inside, centered * centered, 0.0), axis=0)
    inverse_deviation = tl.rsqrt(squares / D + 1e-05)
    norm1_weight_value = tl.load(norm1_weight + d, mask=inside, other=0.0)
    norm1_bias_value = tl.load(norm1_bias + d, mask=inside, other=0.0)
    tl.store(
        layer_norm + i * D + d,
        centered * inverse_deviation * norm1_weight_value + norm1_bias_value,
        mask=inside,
    )


@triton.jit
def linear_kernel(
    qkv_weight, qkv_bias, layer_norm, linear_bias, B: tl.constexpr, T: tl.constexpr,
    D: tl.constexpr, LINEAR_TILE_M: tl.constexpr, LINEAR_TILE_N: tl.constexpr,
    LINEAR_TILE_K: tl.constexpr, LINEAR_GROUP: tl.constexpr,
):
    # A product of matrices: (b, t) walks the rows, i2 the columns, the sum runs over d.
    tile_m, tile_n = tl.swizzle2d(
        tl.program_id(1), tl.program_id(0), tl.num_programs(1), tl.num_programs(0), LINEAR_GROUP
    )
    row = tile_m * LINEAR_TILE_M + tl.arange(0, LINEAR_TILE_M)[:, None]
    i2 = tile_n * LINEAR_TILE_N + tl.arange(0, LINEAR_TILE_N)[None, :]
    left_strange = tl.zeros((LINEAR_TILE_M, LINEAR_TILE_K), tl.int32)
    right_strange = tl.zeros((LINEAR_TILE_K, LINEAR_TILE_N), tl.int32)
    total = tl.zeros((LINEAR_TILE_M, LINEAR_TILE_N), tl.float32)
    for first in range(0, D, LINEAR_TILE_K):
        d = first + tl.arange(0, LINEAR_TILE_K)[None, :]
        inside = (row < B * T) & (d < D)
        layer_norm_value = tl.load(layer_norm + row * D + d, mask=inside, other=0.0)
        left = layer_norm_value
        d = first + tl.arange(0, LINEAR_TILE_K)[:, None]
        inside = (d < D) & (i2 < 3 * D)
        qkv_weight_value = tl.load(qkv_weight + i2 * D + d, mask=inside, other=0.0)
        right = qkv_weight_value
        total = tl.dot(left, right, total, input_precision="bf16x6")
        left_strange |= unsplittable(left)
        right_strange |= unsplittable(right)
    strange = tl.max(tl.max(left_strange, 1), 0) + tl.max(tl.max(right_strange, 1), 0)
    if strange != 0:
        total = tl.zeros((LINEAR_TILE_M, LINEAR_TILE_N), tl.float32)
        for first in range(0, D, LINEAR_TILE_K):
            d = first + tl.arange(0, LINEAR_TILE_K)[None, :]
            inside = (row < B * T) & (d < D)
            layer_norm_value = tl.load(layer_norm + row * D + d, mask=inside, other=0.0)
            d = first + tl.arange(0, LINEAR_TILE_K)[:, None]
            inside = (d < D) & (i2 < 3 * D)
            qkv_weight_value = tl.load(qkv_weight + i2 * D + d, mask=inside, other=0.0)
            total = tl.dot(layer_norm_value, qkv_weight_value, total, input_precision="ieee")
    row_inside, col_inside = row < B * T, i2 < 3 * D
    qkv_bias_value = tl.load(qkv_bias + i2, mask=col_inside, other=0.0)
    tl.store(linear_bias + row * 3 * D + i2, total + qkv_bias_value, mask=col_inside & row_inside)


@triton.jit
def scores_kernel(
    linear_bias, scores, T: tl.constexpr, D: tl.constexpr, HEADS: tl.constexpr,
    SCORES_TILE_M: tl.constexpr, SCORES_TILE_N: tl.constexpr, SCORES_TILE_K: tl.constexpr,
):
    # A product of matrices: t walks the rows, tt the columns, the sum runs over i0.
    t = tl.program_id(1) * SCORES_TILE_M + tl.arange(0, SCORES_TILE_M)[:, None]
    tt = tl.program_id(0) * SCORES_TILE_N + tl.arange(0, SCORES_TILE_N)[None, :]
    batch = tl.program_id(2)
    total = tl.zeros((SCORES_TILE_M, SCORES_TILE_N), tl.float32)
    for first in range(0, D // HEADS, SCORES_TILE_K):
        i0 = first + tl.arange(0, SCORES_TILE_K)[None, :]
        inside = (t < T) & (i0 < D // HEADS)
        b = batch // HEADS
        head = batch % HEADS
        linear_bias_value = tl.load(
            linear_bias + (b * T + t) * 3 * D + head * (D // HEADS) + i0, mask=inside, other=0.0
        )
        i0 = first + tl.arange(0, SCORES_TILE_K)[:, None]
        inside = (i0 < D // HEADS) & (tt < T)
        b = batch // HEADS
        head = batch % HEADS
        linear_bias_value2 = tl.load(
            linear_bias + (b * T + tt) * 3 * D + head * (D // HEADS) + i0 + D,
            mask=inside,
            other=0.0,
        )
        total = tl.dot(linear_bias_value, linear_bias_value2, total, input_precision="ieee")
    row_inside, col_inside = t < T, tt < T
    tl.store(scores + (batch * T + t) * T + tt, total, mask=row_inside & col_inside)


@triton.jit
def weights_kernel(
    scores, weights, T: tl.constexpr, D: tl.constexpr, HEADS: tl.constexpr,
    WEIGHTS_BLOCK: tl.constexpr,
):
    row = tl.program_id(0)
    t = row % T
    tt = tl.arange(0, WEIGHTS_BLOCK)
    inside = tt < T
    masked = tl.where(
        tt <= t,
        tl.load(
            scores + row * T + tt, mask=inside, other=0.0
        ) * tl.rsqrt(tl.full((), D // HEADS, tl.float32)),
        -float("inf"),
    )
    highest = row_max(tl.where(inside, masked, -float("inf")))
    weight = tl.exp(masked - highest)
    total2 = tl.sum(tl.where(inside, weight, 0.0), axis=0)
    tl.store(weights + row * T + tt, weight / total2, mask=inside)


@triton.jit
def attention_kernel(
    weights, linear_bias, scaled_dot_product_attention, T: tl.constexpr, D: tl.constexpr,
    HEADS: tl.constexpr, ATTENTION_TILE_M: tl.constexpr, ATTENTION_TILE_N: tl.constexpr,
    ATTENTION_TILE_K: tl.constexpr,
):
    # A product of matrices: t walks the rows, i3 the columns, the sum runs over tt.
    t = tl.program_id(1) * ATTENTION_TILE_M + tl.arange(0, ATTENTION_TILE_M)[:, None]
    i3 = tl.program_id(0) * ATTENTION_TILE_N + tl.arange(0, ATTENTION_TILE_N)[None, :]
    batch = tl.program_id(2)
    total = tl.zeros((ATTENTION_TILE_M, ATTENTION_TILE_N), tl.float32)
    for first in range(0, T, ATTENTION_TILE_K):
        tt = first + tl.arange(0, ATTENTION_TILE_K)[None, :]
        inside = (t < T) & (tt < T)
        weights_value = tl.load(weights + (batch * T + t) * T + tt, mask=inside, other=0.0)
        tt = first + tl.arange(0, ATTENTION_TILE_K)[:, None]
        inside = (tt < T) & (i3 < D // HEADS)
        b = batch // HEADS
        head = batch % HEADS
        linear_bias_value = tl.load(
            linear_bias + (b * T + tt) * 3 * D + head * (D // HEADS) + i3 + 2 * D,
            mask=inside,
            other=0.0,
        )
        total = tl.dot(weights_value, linear_bias_value, total, input_precision="ieee")
    row_inside, col_inside = t < T, i3 < D // HEADS
    tl.store(
        scaled_dot_product_attention + (batch * T + t) * (D // HEADS) + i3,
        total,
        mask=col_inside & row_inside,
    )


@triton.jit
def linear_1_kernel(
    project_weight, scaled_dot_product_attention, linear_1, B: tl.constexpr, T: tl.constexpr,
    D: tl.constexpr, HEADS: tl.constexpr, LINEAR_1_TILE_M: tl.constexpr,
    LINEAR_1_TILE_N: tl.constexpr, LINEAR_1_TILE_K: tl.constexpr,
):
    # A product of matrices: (b, t) walks the rows, d the columns, the sum runs over dd.
    row = tl.program_id(1) * LINEAR_1_TILE_M + tl.arange(0, LINEAR_1_TILE_M)[:, None]
    d = tl.program_id(0) * LINEAR_1_TILE_N + tl.arange(0, LINEAR_1_TILE_N)[None, :]
    total = tl.zeros((LINEAR_1_TILE_M, LINEAR_1_TILE_N), tl.float32)
    for first in range(0, D, LINEAR_1_TILE_K):
        dd = first + tl.arange(0, LINEAR_1_TILE_K)[None, :]
        inside = (row < B * T) & (dd < D)
        b = row // T
        t = row % T
        scaled_dot_product_attention_value = tl.load(
            scaled_dot_product_attention + (
                (b * HEADS + dd // (D // HEADS)) * T + t
            ) * (D // HEADS) + dd % (D // HEADS),
            mask=inside,
            other=0.0,
        )
        dd = first + tl.arange(0, LINEAR_1_TILE_K)[:, None]
        inside = (dd < D) & (d < D)
        project_weight_value = tl.load(project_weight + d * D + dd, mask=inside, other=0.0)
        total = tl.dot(
            scaled_dot_product_attention_value, project_weight_value, total, input_precision="ieee"
        )
    row_inside, col_inside = row < B * T, d < D
    tl.store(linear_1 + row * D + d, total, mask=col_inside & row_inside)


@triton.jit
def layer_norm_1_kernel(
    project_bias, norm2_weight, norm2_bias, x, linear_1, layer_norm_1, D: tl.constexpr,
    LAYER_NORM_1_BLOCK: tl.constexpr,
):
    i = tl.program_id(0)
    d = tl.arange(0, LAYER_NORM_1_BLOCK)
    inside = d < D
    add = tl.load(x + i * D + d, mask=inside, other=0.0) + (
        tl.load(
            linear_1 + i * D + d, mask=inside, other=0.0
        ) + tl.load(project_bias + d, mask=inside, other=0.0)
    )
    total3 = tl.sum(tl.where(inside, add, 0.0), axis=0)
    mean = total3 / D
    centered = add - mean
    squares2 = tl.sum(tl.where(inside, centered * centered, 0.0), axis=0)
    inverse_deviation = tl.rsqrt(squares2 / D + 1e-05)
    norm2_weight_value = tl.load(norm2_weight + d, mask=inside, other=0.0)
    norm2_bias_value = tl.load(norm2_bias + d, mask=inside, other=0.0)
    tl.store(
        layer_norm_1 + i * D + d,
        centered * inverse_deviation * norm2_weight_value + norm2_bias_value,
        mask=inside,
    )


@triton.jit
def linear_2_kernel(
    wide_weight, wide_bias, layer_norm_1, gelu, B: tl.constexpr, T: tl.constexpr, D: tl.constexpr,
    LINEAR_2_TILE_M: tl.constexpr, LINEAR_2_TILE_N: tl.constexpr, LINEAR_2_TILE_K: tl.constexpr,
    LINEAR_2_GROUP: tl.constexpr,
):
    # A product of matrices: (b, t) walks the rows, i2 the columns, the sum runs over d.
    tile_m, tile_n = tl.swizzle2d(
        tl.program_id(1), tl.program_id(0), tl.num_programs(1), tl.num_programs(0), LINEAR_2_GROUP
    )
    row = tile_m * LINEAR_2_TILE_M + tl.arange(0, LINEAR_2_TILE_M)[:, None]
    i2 = tile_n * LINEAR_2_TILE_N + tl.arange(0, LINEAR_2_TILE_N)[None, :]
    left_strange = tl.zeros((LINEAR_2_TILE_M, LINEAR_2_TILE_K), tl.int32)
    right_strange = tl.zeros((LINEAR_2_TILE_K, LINEAR_2_TILE_N), tl.int32)
    total = tl.zeros((LINEAR_2_TILE_M, LINEAR_2_TILE_N), tl.float32)
    for first in range(0, D, LINEAR_2_TILE_K):
        d = first + tl.arange(0, LINEAR_2_TILE_K)[None, :]
        inside = (row < B * T) & (d < D)
        layer_norm_1_value = tl.load(layer_norm_1 + row * D + d, mask=inside, other=0.0)
        left = layer_norm_1_value
        d = first + tl.arange(0, LINEAR_2_TILE_K)[:, None]
        inside = (d < D) & (i2 < 4 * D)
        wide_weight_value = tl.load(wide_weight + i2 * D + d, mask=inside, other=0.0)
        right = wide_weight_value
        total = tl.dot(left, right, total, input_precision="bf16x6")
        left_strange |= unsplittable(left)
        right_strange |= unsplittable(right)
    strange = tl.max(tl.max(left_strange, 1), 0) + tl.max(tl.max(right_strange, 1), 0)
    if strange != 0:
        total = tl.zeros((LINEAR_2_TILE_M, LINEAR_2_TILE_N), tl.float32)
        for first in range(0, D, LINEAR_2_TILE_K):
            d = first + tl.arange(0, LINEAR_2_TILE_K)[None, :]
            inside = (row < B * T) & (d < D)
            layer_norm_1_value = tl.load(layer_norm_1 + row * D + d, mask=inside, other=0.0)
            d = first + tl.arange(0, LINEAR_2_TILE_K)[:, None]
            inside = (d < D) & (i2 < 4 * D)
            wide_weight_value = tl.load(wide_weight + i2 * D + d, mask=inside, other=0.0)
            total = tl.dot(layer_norm_1_value, wide_weight_value, total, input_precision="ieee")
    row_inside, col_inside = row < B * T, i2 < 4 * D
    wide_bias_value = tl.load(wide_bias + i2, mask=col_inside, other=0.0)
    linear_2_bias = total + wide_bias_value
    tl.store(
        gelu + row * 4 * D + i2,
        0.5 * linear_2_bias * (1.0 + tl.erf(linear_2_bias * 0.70710677)),
        mask=col_inside & row_inside,
    )


@triton.jit
def linear_3_kernel(
    project_bias, narrow_weight, narrow_bias, x, gelu, linear_1, y, B: tl.constexpr,
    T: tl.constexpr, D: tl.constexpr, LINEAR_3_TILE_M: tl.constexpr,
    LINEAR_3_TILE_N: tl.constexpr, LINEAR_3_TILE_K: tl.constexpr, LINEAR_3_GROUP: tl.constexpr,
):
    # A product of matrices: (b, t) walks the rows, d the columns, the sum runs over i0.
    tile_m, tile_n = tl.swizzle2d(
        tl.program_id(1), tl.program_id(0), tl.num_programs(1), tl.num_programs(0), LINEAR_3_GROUP
    )
    row = tile_m * LINEAR_3_TILE_M + tl.arange(0, LINEAR_3_TILE_M)[:, None]
    d = tile_n * LINEAR_3_TILE_N + tl.arange(0, LINEAR_3_TILE_N)[None, :]
    left_strange = tl.zeros((LINEAR_3_TILE_M, LINEAR_3_TILE_K), tl.int32)
    right_strange = tl.zeros((LINEAR_3_TILE_K, LINEAR_3_TILE_N), tl.int32)
    total = tl.zeros((LINEAR_3_TILE_M, LINEAR_3_TILE_N), tl.float32)
    for first in range(0, 4 * D, LINEAR_3_TILE_K):
        i0 = first + tl.arange(0, LINEAR_3_TILE_K)[None, :]
        inside = (row < B * T) & (i0 < 4 * D)
        gelu_value = tl.load(gelu + row * 4 * D + i0, mask=inside, other=0.0)
        left = gelu_value
        i0 = first + tl.arange(0, LINEAR_3_TILE_K)[:, None]
        inside = (i0 < 4 * D) & (d < D)
        narrow_weight_value = tl.load(narrow_weight + d * 4 * D + i0, mask=inside, other=0.0)
        right = narrow_weight_value
        total = tl.dot(left, right, total, input_precision="bf16x6")
        left_strange |= unsplittable(left)
        right_strange |= unsplittable(right)
    strange = tl.max(tl.max(left_strange, 1), 0) + tl.max(tl.max(right_strange, 1), 0)
    if strange != 0:
        total = tl.zeros((LINEAR_3_TILE_M, LINEAR_3_TILE_N), tl.float32)
        for first in range(0, 4 * D, LINEAR_3_TILE_K):
            i0 = first + tl.arange(0, LINEAR_3_TILE_K)[None, :]
            inside = (row < B * T) & (i0 < 4 * D)
            gelu_value = tl.load(gelu + row * 4 * D + i0, mask=inside, other=0.0)
            i0 = first + tl.arange(0, LINEAR_3_TILE_K)[:, None]
            inside = (i0 < 4 * D) & (d < D)
            narrow_weight_value = tl.load(narrow_weight + d * 4 * D + i0, mask=inside, other=0.0)
            total = tl.dot(gelu_value, narrow_weight_value, total, input_precision="ieee")
    row_inside, col_inside = row < B * T, d < D
    x_value = tl.load(x + row * D + d, mask=col_inside & row_inside, other=0.0)
    linear_1_value = tl.load(linear_1 + row * D + d, mask=col_inside & row_inside, other=0.0)
    project_bias_value = tl.load(project_bias + d, mask=col_inside, other=0.0)
    narrow_bias_value = tl.load(narrow_bias + d, mask=col_inside, other=0.0)
    tl.store(
        y + row * D + d,
        x_value + (linear_1_value + project_bias_value) + (total + narrow_bias_value),
        mask=col_inside & row_inside,
    )


def transformer_block(
    norm1_weight: torch.Tensor,
    norm1_bias: torch.Tensor,
    qkv_weight: torch.Tensor,
    qkv_bias: torch.Tensor,
    project_weight: torch.Tensor,
    project_bias: torch.Tensor,
    norm2_weight: torch.Tensor,
    norm2_bias: torch.Tensor,
    wide_weight: torch.Tensor,
    wide_bias: torch.Tensor,
    narrow_weight: torch.Tensor,
    narrow_bias: torch.Tensor,
    x: torch.Tensor,
) -> torch.Tensor:
    """A block of a transformer, norms first: causal attention of several heads, then an MLP."""
    expected = (
        ("norm1_weight", norm1_weight, (D,), torch.float32),
        ("norm1_bias", norm1_bias, (D,), torch.float32),
        ("qkv_weight", qkv_weight, (3 * D, D), torch.float32),
        ("qkv_bias", qkv_bias, (3 * D,), torch.float32),
        ("project_weight", project_weight, (D, D), torch.float32),
        ("project_bias", project_bias, (D,), torch.float32),
        ("norm2_weight", norm2_weight, (D,), torch.float32),
        ("norm2_bias", norm2_bias, (D,), torch.float32),
        ("wide_weight", wide_weight, (4 * D, D), torch.float32),
        ("wide_bias", wide_bias, (4 * D,), torch.float32),
        ("narrow_weight", narrow_weight, (D, 4 * D), torch.float32),
        ("narrow_bias", narrow_bias, (D,), torch.float32),
        ("x", x, (B, T, D), torch.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y = torch.empty((B, T, D), dtype=torch.float32, device=norm1_weight.device)
    layer_norm = torch.empty((B, T, D), dtype=torch.float32, device=norm1_weight.device)
    linear_bias = torch.empty((B, T, 3 * D), dtype=torch.float32, device=norm1_weight.device)
    scores = torch.empty((B, HEADS, T, T), dtype=torch.float32, device=norm1_weight.device)
    weights = torch.empty((B, HEADS, T, T), dtype=torch.float32, device=norm1_weight.device)
    scaled_dot_product_attention = torch.empty(
        (B, HEADS, T, D // HEADS), dtype=torch.float32, device=norm1_weight.device
    )
    linear_1 = torch.empty((B, T, D), dtype=torch.float32, device=norm1_weight.device)
    layer_norm_1 = torch.empty((B, T, D), dtype=torch.float32, device=norm1_weight.device)
    gelu = torch.empty((B, T, 4 * D), dtype=torch.float32, device=norm1_weight.device)
    grid = (B * T,)
    layer_norm_kernel[grid](
        norm1_weight, norm1_bias, x, layer_norm, D, LAYER_NORM_BLOCK,
        num_warps=LAYER_NORM_WARPS, num_stages=1,
    )
    grid = (triton.cdiv(3 * D, LINEAR_TILE_N), triton.cdiv(B * T, LINEAR_TILE_M))
    linear_kernel[grid](
        qkv_weight, qkv_bias, layer_norm, linear_bias, B, T, D, LINEAR_TILE_M, LINEAR_TILE_N,
        LINEAR_TILE_K, LINEAR_GROUP,
        num_warps=LINEAR_WARPS, num_stages=LINEAR_STAGES,
    )
    grid = (triton.cdiv(T, SCORES_TILE_N), triton.cdiv(T, SCORES_TILE_M), B * HEADS)
    scores_kernel[grid](
        linear_bias, scores, T, D, HEADS, SCORES_TILE_M, SCORES_TILE_N, SCORES_TILE_K,
        num_warps=SCORES_WARPS, num_stages=SCORES_STAGES,
    )
    grid = (B * HEADS * T,)
    weights_kernel[grid](
        scores, weights, T, D, HEADS, WEIGHTS_BLOCK,
        num_warps=WEIGHTS_WARPS, num_stages=1,
    )
    grid = (triton.cdiv(D // HEADS, ATTENTION_TILE_N), triton.cdiv(T, ATTENTION_TILE_M), B * HEADS)
    attention_kernel[grid](
        weights, linear_bias, scaled_dot_product_attention, T, D, HEADS, ATTENTION_TILE_M,
        ATTENTION_TILE_N, ATTENTION_TILE_K,
        num_warps=ATTENTION_WARPS, num_stages=ATTENTION_STAGES,
    )
    grid = (triton.cdiv(D, LINEAR_1_TILE_N), triton.cdiv(B * T, LINEAR_1_TILE_M))
    linear_1_kernel[grid](
        project_weight, scaled_dot_product_attention, linear_1, B, T, D, HEADS, LINEAR_1_TILE_M,
        LINEAR_1_TILE_N, LINEAR_1_TILE_K,
        num_warps=LINEAR_1_WARPS, num_stages=LINEAR_1_STAGES,
    )
    grid = (B * T,)
    layer_norm_1_kernel[grid](
        project_bias, norm2_weight, norm2_bias, x, linear_1, layer_norm_1, D,
        LAYER_NORM_1_BLOCK,
        num_warps=LAYER_NORM_1_WARPS, num_stages=1,
    )
    grid = (triton.cdiv(4 * D, LINEAR_2_TILE_N), triton.cdiv(B * T, LINEAR_2_TILE_M))
    linear_2_kernel[grid](
        wide_weight, wide_bias, layer_norm_1, gelu, B, T, D, LINEAR_2_TILE_M, LINEAR_2_TILE_N,
        LINEAR_2_TILE_K, LINEAR_2_GROUP,
        num_warps=LINEAR_2_WARPS, num_stages=LINEAR_2_STAGES,
    )
    grid = (triton.cdiv(D, LINEAR_3_TILE_N), triton.cdiv(B * T, LINEAR_3_TILE_M))
    linear_3_kernel[grid](
        project_bias, narrow_weight, narrow_bias, x, gelu, linear_1, y, B, T, D,
        LINEAR_3_TILE_M, LINEAR_3_TILE_N, LINEAR_3_TILE_K, LINEAR_3_GROUP,
        num_warps=LINEAR_3_WARPS, num_stages=LINEAR_3_STAGES,
    )
    return y

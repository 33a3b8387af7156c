import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
T, B, I, H, GATES = 128, 64, 256, 512, 1536
# Parameters of this variant.
X_GATES_L0_TILE_M, X_GATES_L0_TILE_N, X_GATES_L0_TILE_K, X_GATES_L0_WARPS = 64, 64, 32, 8
X_GATES_L0_STAGES, X_GATES_L0_GROUP = 2, 8
H_L0_BLOCK, H_L0_WARPS = 512, 8
H_GATES_L0_TILE_M, H_GATES_L0_TILE_N, H_GATES_L0_TILE_K, H_GATES_L0_WARPS = 64, 256, 32, 8
H_GATES_L0_STAGES, H_GATES_L0_GROUP = 2, 8
H_NEXT_L0_BLOCK, H_NEXT_L0_WARPS = 512, 8
X_GATES_L1_TILE_M, X_GATES_L1_TILE_N, X_GATES_L1_TILE_K, X_GATES_L1_WARPS = 64, 64, 32, 8
X_GATES_L1_STAGES, X_GATES_L1_GROUP = 2, 8
H_L1_BLOCK, H_L1_WARPS = 512, 8
H_GATES_L1_TILE_M, H_GATES_L1_TILE_N, H_GATES_L1_TILE_K, H_GATES_L1_WARPS = 64, 256, 32, 8
H_GATES_L1_STAGES, H_GATES_L1_GROUP = 2, 8
H_NEXT_L1_BLOCK, H_NEXT_L1_WARPS = 512, 8
HN_BLOCK, HN_WARPS = 512, 8


@triton.jit
def tanh(x):
    """tanh(x) to 1.7 ulp of float32: a minimax polynomial near 0, where the quotient cancels."""
    quotient = 1.0 - 2.0 / (tl.exp(2.0 * tl.abs(x)) + 1.0)
    far = tl.where(x < 0.0, -quotient, quotient)
    square = x * x
    series = -0.005926038138568401 * square + 0.02084830403327942
    series = series * square - 0.05380784347653389
    series = series * square + 0.13332313299179077
    series = series * square - 0.33333316445350647
    near = x + x * (square * series)
    limit: tl.constexpr = 0.0 if x.dtype == tl.float64 else 0.625  # its digits are float32's
    return tl.where(tl.abs(x) < limit, near, far)


@triton.jit
def unsplittable(value):
    """1 where three bfloat16 cannot add up to `value`: one would overflow, or the last vanish."""
    size = tl.abs(value)
    return ((size > 3.38e38) | ((size < 1e-30) & (size != 0.0))).to(tl.int32)


@triton.jit
def x_gates_l0_kernel(
    gru_weight_ih_l0, gru_bias_ih_l0, x, x_gates_l0_biased, T: tl.constexpr, B: tl.constexpr,
    I: tl.constexpr, GATES: tl.constexpr, X_GATES_L0_TILE_M: tl.constexpr,
    X_GATES_L0_TILE_N: tl.constexpr, X_GATES_L0_TILE_K: tl.constexpr,
    X_GATES_L0_GROUP: tl.constexpr,
):
    # A product of matrices: (t, b) walks the rows, gate the columns, the sum runs over i.
    tile_m, tile_n = tl.swizzle2d(
        tl.program_id(1), tl.program_id(0), tl.num_programs(1), tl.num_programs(0), X_GATES_L0_GROUP
    )
    row = tile_m * X_GATES_L0_TILE_M + tl.arange(0, X_GATES_L0_TILE_M)[:, None]
    gate = tile_n * X_GATES_L0_TILE_N + tl.arange(0, X_GATES_L0_TILE_N)[None, :]
    left_strange = tl.zeros((X_GATES_L0_TILE_M, X_GATES_L0_TILE_K), tl.int32)
    right_strange = tl.zeros((X_GATES_L0_TILE_K, X_GATES_L0_TILE_N), tl.int32)
    total = tl.zeros((X_GATES_L0_TILE_M, X_GATES_L0_TILE_N), tl.float32)
    for first in range(0, I, X_GATES_L0_TILE_K):
        i = first + tl.arange(0, X_GATES_L0_TILE_K)[None, :]
        inside = (row < T * B) & (i < I)
        x_value = tl.load(x + row * I + i, mask=inside, other=0.0)
        left = x_value
        i = first + tl.arange(0, X_GATES_L0_TILE_K)[:, None]
        inside = (i < I) & (gate < GATES)
        gru_weight_ih_l0_value = tl.load(gru_weight_ih_l0 + gate * I + i, mask=inside, other=0.0)
        right = gru_weight_ih_l0_value
        total = tl.dot(left, right, total, input_precision="bf16x6")
        left_strange |= unsplittable(left)
        right_strange |= unsplittable(right)
    strange = tl.max(tl.max(left_strange, 1), 0) + tl.max(tl.max(right_strange, 1), 0)
    if strange != 0:
        total = tl.zeros((X_GATES_L0_TILE_M, X_GATES_L0_TILE_N), tl.float32)
        for first in range(0, I, X_GATES_L0_TILE_K):
            i = first + tl.arange(0, X_GATES_L0_TILE_K)[None, :]
            inside = (row < T * B) & (i < I)
            x_value = tl.load(x + row * I + i, mask=inside, other=0.0)
            i = first + tl.arange(0, X_GATES_L0_TILE_K)[:, None]
            inside = (i < I) & (gate < GATES)
            gru_weight_ih_l0_value = tl.load(
                gru_weight_ih_l0 + gate * I + i, mask=inside, other=0.0
            )
            total = tl.dot(x_value, gru_weight_ih_l0_value, total, input_precision="ieee")
    row_inside, col_inside = row < T * B, gate < GATES
    gru_bias_ih_l0_value = tl.load(gru_bias_ih_l0 + gate, mask=col_inside, other=0.0)
    tl.store(
        x_gates_l0_biased + row * GATES + gate,
        total + gru_bias_ih_l0_value,
        mask=col_inside & row_inside,
    )


@triton.jit
def h_l0_kernel(h0, h_l0, B: tl.constexpr, H: tl.constexpr, H_L0_BLOCK: tl.constexpr):
    i = tl.program_id(0) * H_L0_BLOCK + tl.arange(0, H_L0_BLOCK)
    inside = i < B * H
    h0_value = tl.load(h0 + i, mask=inside, other=0.0)
    tl.store(h_l0 + i, h0_value, mask=inside)


@triton.jit
def h_gates_l0_kernel(
    gru_weight_hh_l0, h_l0, h_gates_l0, B: tl.constexpr, H: tl.constexpr, GATES: tl.constexpr,
    H_GATES_L0_TILE_M: tl.constexpr, H_GATES_L0_TILE_N: tl.constexpr,
    H_GATES_L0_TILE_K: tl.constexpr, H_GATES_L0_GROUP: tl.constexpr,
):
    # A product of matrices: b walks the rows, gate the columns, the sum runs over k.
    tile_m, tile_n = tl.swizzle2d(
        tl.program_id(1), tl.program_id(0), tl.num_programs(1), tl.num_programs(0), H_GATES_L0_GROUP
    )
    b = tile_m * H_GATES_L0_TILE_M + tl.arange(0, H_GATES_L0_TILE_M)[:, None]
    gate = tile_n * H_GATES_L0_TILE_N + tl.arange(0, H_GATES_L0_TILE_N)[None, :]
    left_strange = tl.zeros((H_GATES_L0_TILE_M, H_GATES_L0_TILE_K), tl.int32)
    right_strange = tl.zeros((H_GATES_L0_TILE_K, H_GATES_L0_TILE_N), tl.int32)
    total = tl.zeros((H_GATES_L0_TILE_M, H_GATES_L0_TILE_N), tl.float32)
    for first in range(0, H, H_GATES_L0_TILE_K):
        k = first + tl.arange(0, H_GATES_L0_TILE_K)[None, :]
        inside = (b < B) & (k < H)
        h_l0_value = tl.load(h_l0 + b * H + k, mask=inside, other=0.0)
        left = h_l0_value
        k = first + tl.arange(0, H_GATES_L0_TILE_K)[:, None]
        inside = (k < H) & (gate < GATES)
        gru_weight_hh_l0_value = tl.load(gru_weight_hh_l0 + gate * H + k, mask=inside, other=0.0)
        right = gru_weight_hh_l0_value
        total = tl.dot(left, right, total, input_precision="bf16x6")
        left_strange |= unsplittable(left)
        right_strange |= unsplittable(right)
    strange = tl.max(tl.max(left_strange, 1), 0) + tl.max(tl.max(right_strange, 1), 0)
    if strange != 0:
        total = tl.zeros((H_GATES_L0_TILE_M, H_GATES_L0_TILE_N), tl.float32)
        for first in range(0, H, H_GATES_L0_TILE_K):
            k = first + tl.arange(0, H_GATES_L0_TILE_K)[None, :]
            inside = (b < B) & (k < H)
            h_l0_value = tl.load(h_l0 + b * H + k, mask=inside, other=0.0)
            k = first + tl.arange(0, H_GATES_L0_TILE_K)[:, None]
            inside = (k < H) & (gate < GATES)
            gru_weight_hh_l0_value = tl.load(
                gru_weight_hh_l0 + gate * H + k, mask=inside, other=0.0
            )
            total = tl.dot(h_l0_value, gru_weight_hh_l0_value, total, input_precision="ieee")
    row_inside, col_inside = b < B, gate < GATES
    tl.store(h_gates_l0 + b * GATES + gate, total, mask=row_inside & col_inside)


@triton.jit
def h_next_l0_kernel(
    gru_bias_hh_l0, x_gates_l0_biased, h_gates_l0, h_l0, h_next_l0, y_l0, B: tl.constexpr,
    H: tl.constexpr, H_NEXT_L0_BLOCK: tl.constexpr,
):
    i = tl.program_id(0) * H_NEXT_L0_BLOCK + tl.arange(0, H_NEXT_L0_BLOCK)
    inside = i < B * H
    b = i // H
    k = i % H
    x_gates_l0_biased_value = tl.load(
        x_gates_l0_biased + (b * 3 + 1) * H + k, mask=inside, other=0.0
    )
    h_gates_l0_value = tl.load(h_gates_l0 + (b * 3 + 1) * H + k, mask=inside, other=0.0)
    gru_bias_hh_l0_value = tl.load(gru_bias_hh_l0 + H + k, mask=inside, other=0.0)
    update = tl.sigmoid(x_gates_l0_biased_value + (h_gates_l0_value + gru_bias_hh_l0_value))
    x_gates_l0_biased_value2 = tl.load(
        x_gates_l0_biased + (b * 3 + 2) * H + k, mask=inside, other=0.0
    )
    x_gates_l0_biased_value3 = tl.load(x_gates_l0_biased + b * 3 * H + k, mask=inside, other=0.0)
    h_gates_l0_value2 = tl.load(h_gates_l0 + b * 3 * H + k, mask=inside, other=0.0)
    gru_bias_hh_l0_value2 = tl.load(gru_bias_hh_l0 + k, mask=inside, other=0.0)
    reset = tl.sigmoid(x_gates_l0_biased_value3 + (h_gates_l0_value2 + gru_bias_hh_l0_value2))
    h_gates_l0_value3 = tl.load(h_gates_l0 + (b * 3 + 2) * H + k, mask=inside, other=0.0)
    gru_bias_hh_l0_value3 = tl.load(gru_bias_hh_l0 + 2 * H + k, mask=inside, other=0.0)
    candidate = tanh(x_gates_l0_biased_value2 + reset * (h_gates_l0_value3 + gru_bias_hh_l0_value3))
    h_l0_value = tl.load(h_l0 + i, mask=inside, other=0.0)
    state = (1.0 - update) * candidate + update * h_l0_value
    tl.store(h_next_l0 + i, state, mask=inside)
    tl.store(y_l0 + i, state, mask=inside)


@triton.jit
def x_gates_l1_kernel(
    gru_weight_ih_l1, gru_bias_ih_l1, y_l0, x_gates_l1_biased, T: tl.constexpr, B: tl.constexpr,
    H: tl.constexpr, GATES: tl.constexpr, X_GATES_L1_TILE_M: tl.constexpr,
    X_GATES_L1_TILE_N: tl.constexpr, X_GATES_L1_TILE_K: tl.constexpr,
    X_GATES_L1_GROUP: tl.constexpr,
):
    # A product of matrices: (t, b) walks the rows, gate the columns, the sum runs over i.
    tile_m, tile_n = tl.swizzle2d(
        tl.program_id(1), tl.program_id(0), tl.num_programs(1), tl.num_programs(0), X_GATES_L1_GROUP
    )
    row = tile_m * X_GATES_L1_TILE_M + tl.arange(0, X_GATES_L1_TILE_M)[:, None]
    gate = tile_n * X_GATES_L1_TILE_N + tl.arange(0, X_GATES_L1_TILE_N)[None, :]
    left_strange = tl.zeros((X_GATES_L1_TILE_M, X_GATES_L1_TILE_K), tl.int32)
    right_strange = tl.zeros((X_GATES_L1_TILE_K, X_GATES_L1_TILE_N), tl.int32)
    total = tl.zeros((X_GATES_L1_TILE_M, X_GATES_L1_TILE_N), tl.float32)
    for first in range(0, H, X_GATES_L1_TILE_K):
        i = first + tl.arange(0, X_GATES_L1_TILE_K)[None, :]
        inside = (row < T * B) & (i < H)
        y_l0_value = tl.load(y_l0 + row * H + i, mask=inside, other=0.0)
        left = y_l0_value
        i = first + tl.arange(0, X_GATES_L1_TILE_K)[:, None]
        inside = (i < H) & (gate < GATES)
        gru_weight_ih_l1_value = tl.load(gru_weight_ih_l1 + gate * H + i, mask=inside, other=0.0)
        right = gru_weight_ih_l1_value
        total = tl.dot(left, right, total, input_precision="bf16x6")
        left_strange |= unsplittable(left)
        right_strange |= unsplittable(right)
    strange = tl.max(tl.max(left_strange, 1), 0) + tl.max(tl.max(right_strange, 1), 0)
    if strange != 0:
        total = tl.zeros((X_GATES_L1_TILE_M, X_GATES_L1_TILE_N), tl.float32)
        for first in range(0, H, X_GATES_L1_TILE_K):
            i = first + tl.arange(0, X_GATES_L1_TILE_K)[None, :]
            inside = (row < T * B) & (i < H)
            y_l0_value = tl.load(y_l0 + row * H + i, mask=inside, other=0.0)
            i = first + tl.arange(0, X_GATES_L1_TILE_K)[:, None]
            inside = (i < H) & (gate < GATES)
            gru_weight_ih_l1_value = tl.load(
                gru_weight_ih_l1 + gate * H + i, mask=inside, other=0.0
            )
            total = tl.dot(y_l0_value, gru_weight_ih_l1_value, total, input_precision="ieee")
    row_inside, col_inside = row < T * B, gate < GATES
    gru_bias_ih_l1_value = tl.load(gru_bias_ih_l1 + gate, mask=col_inside, other=0.0)
    tl.store(
        x_gates_l1_biased + row * GATES + gate,
        total + gru_bias_ih_l1_value,
        mask=col_inside & row_inside,
    )


@triton.jit
def h_l1_kernel(h0, h_l1, B: tl.constexpr, H: tl.constexpr, H_L1_BLOCK: tl.constexpr):
    i = tl.program_id(0) * H_L1_BLOCK + tl.arange(0, H_L1_BLOCK)
    inside = i < B * H
    h0_value = tl.load(h0 + B * H + i, mask=inside, other=0.0)
    tl.store(h_l1 + i, h0_value, mask=inside)


@triton.jit
def h_gates_l1_kernel(
    gru_weight_hh_l1, h_l1, h_gates_l1, B: tl.constexpr, H: tl.constexpr, GATES: tl.constexpr,
    H_GATES_L1_TILE_M: tl.constexpr, H_GATES_L1_TILE_N: tl.constexpr,
    H_GATES_L1_TILE_K: tl.constexpr, H_GATES_L1_GROUP: tl.constexpr,
):
    # A product of matrices: b walks the rows, gate the columns, the sum runs over k.
    tile_m, tile_n = tl.swizzle2d(
        tl.program_id(1), tl.program_id(0), tl.num_programs(1), tl.num_programs(0), H_GATES_L1_GROUP
    )
    b = tile_m * H_GATES_L1_TILE_M + tl.arange(0, H_GATES_L1_TILE_M)[:, None]
    gate = tile_n * H_GATES_L1_TILE_N + tl.arange(0, H_GATES_L1_TILE_N)[None, :]
    left_strange = tl.zeros((H_GATES_L1_TILE_M, H_GATES_L1_TILE_K), tl.int32)
    right_strange = tl.zeros((H_GATES_L1_TILE_K, H_GATES_L1_TILE_N), tl.int32)
    total = tl.zeros((H_GATES_L1_TILE_M, H_GATES_L1_TILE_N), tl.float32)
    for first in range(0, H, H_GATES_L1_TILE_K):
        k = first + tl.arange(0, H_GATES_L1_TILE_K)[None, :]
        inside = (b < B) & (k < H)
        h_l1_value = tl.load(h_l1 + b * H + k, mask=inside, other=0.0)
        left = h_l1_value
        k = first + tl.arange(0, H_GATES_L1_TILE_K)[:, None]
        inside = (k < H) & (gate < GATES)
        gru_weight_hh_l1_value = tl.load(gru_weight_hh_l1 + gate * H + k, mask=inside, other=0.0)
        right = gru_weight_hh_l1_value
        total = tl.dot(left, right, total, input_precision="bf16x6")
        left_strange |= unsplittable(left)
        right_strange |= unsplittable(right)
    strange = tl.max(tl.max(left_strange, 1), 0) + tl.max(tl.max(right_strange, 1), 0)
    if strange != 0:
        total = tl.zeros((H_GATES_L1_TILE_M, H_GATES_L1_TILE_N), tl.float32)
        for first in range(0, H, H_GATES_L1_TILE_K):
            k = first + tl.arange(0, H_GATES_L1_TILE_K)[None, :]
            inside = (b < B) & (k < H)
            h_l1_value = tl.load(h_l1 + b * H + k, mask=inside, other=0.0)
            k = first + tl.arange(0, H_GATES_L1_TILE_K)[:, None]
            inside = (k < H) & (gate < GATES)
            gru_weight_hh_l1_value = tl.load(
                gru_weight_hh_l1 + gate * H + k, mask=inside, other=0.0
            )
            total = tl.dot(h_l1_value, gru_weight_hh_l1_value, total, input_precision="ieee")
    row_inside, col_inside = b < B, gate < GATES
    tl.store(h_gates_l1 + b * GATES + gate, total, mask=row_inside & col_inside)


@triton.jit
def h_next_l1_kernel(
    gru_bias_hh_l1, x_gates_l1_biased, h_gates_l1, h_l1, h_next_l1, y1, B: tl.constexpr,
    H: tl.constexpr, H_NEXT_L1_BLOCK: tl.constexpr,
):
    i = tl.program_id(0) * H_NEXT_L1_BLOCK + tl.arange(0, H_NEXT_L1_BLOCK)
    inside = i < B * H
    b = i // H
    k = i % H
    x_gates_l1_biased_value = tl.load(
        x_gates_l1_biased + (b * 3 + 1) * H + k, mask=inside, other=0.0
    )
    h_gates_l1_value = tl.load(h_gates_l1 + (b * 3 + 1) * H + k, mask=inside, other=0.0)
    gru_bias_hh_l1_value = tl.load(gru_bias_hh_l1 + H + k, mask=inside, other=0.0)
    update = tl.sigmoid(x_gates_l1_biased_value + (h_gates_l1_value + gru_bias_hh_l1_value))
    x_gates_l1_biased_value2 = tl.load(
        x_gates_l1_biased + (b * 3 + 2) * H + k, mask=inside, other=0.0
    )
    x_gates_l1_biased_value3 = tl.load(x_gates_l1_biased + b * 3 * H + k, mask=inside, other=0.0)
    h_gates_l1_value2 = tl.load(h_gates_l1 + b * 3 * H + k, mask=inside, other=0.0)
    gru_bias_hh_l1_value2 = tl.load(gru_bias_hh_l1 + k, mask=inside, other=0.0)
    reset = tl.sigmoid(x_gates_l1_biased_value3 + (h_gates_l1_value2 + gru_bias_hh_l1_value2))
    h_gates_l1_value3 = tl.load(h_gates_l1 + (b * 3 + 2) * H + k, mask=inside, other=0.0)
    gru_bias_hh_l1_value3 = tl.load(gru_bias_hh_l1 + 2 * H + k, mask=inside, other=0.0)
    candidate = tanh(x_gates_l1_biased_value2 + reset * (h_gates_l1_value3 + gru_bias_hh_l1_value3))
    h_l1_value = tl.load(h_l1 + i, mask=inside, other=0.0)
    state = (1.0 - update) * candidate + update * h_l1_value
    tl.store(h_next_l1 + i, state, mask=inside)
    tl.store(y1 + i, state, mask=inside)


@triton.jit
def hn_kernel(h_l0, h_l1, y2, B: tl.constexpr, H: tl.constexpr, HN_BLOCK: tl.constexpr):
    i_index = tl.program_id(0) * HN_BLOCK + tl.arange(0, HN_BLOCK)
    inside = i_index < 2 * B * H
    layer = i_index // (B * H)
    i = i_index % (B * H)
    h_l0_value = tl.load(h_l0 + i, mask=inside, other=0.0)
    h_l1_value = tl.load(h_l1 + i, mask=inside, other=0.0)
    tl.store(y2 + i_index, tl.where(layer == 0, h_l0_value, h_l1_value), mask=inside)


def gru_2layer(
    gru_weight_ih_l0: torch.Tensor,
    gru_weight_hh_l0: torch.Tensor,
    gru_bias_ih_l0: torch.Tensor,
    gru_bias_hh_l0: torch.Tensor,
    gru_weight_ih_l1: torch.Tensor,
    gru_weight_hh_l1: torch.Tensor,
    gru_bias_ih_l1: torch.Tensor,
    gru_bias_hh_l1: torch.Tensor,
    x: torch.Tensor,
    h0: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A GRU of two layers over a sequence, time first: every hidden state, and the last ones."""
    expected = (
        ("gru_weight_ih_l0", gru_weight_ih_l0, (GATES, I), torch.float32),
        ("gru_weight_hh_l0", gru_weight_hh_l0, (GATES, H), torch.float32),
        ("gru_bias_ih_l0", gru_bias_ih_l0, (GATES,), torch.float32),
        ("gru_bias_hh_l0", gru_bias_hh_l0, (GATES,), torch.float32),
        ("gru_weight_ih_l1", gru_weight_ih_l1, (GATES, H), torch.float32),
        ("gru_weight_hh_l1", gru_weight_hh_l1, (GATES, H), torch.float32),
        ("gru_bias_ih_l1", gru_bias_ih_l1, (GATES,), torch.float32),
        ("gru_bias_hh_l1", gru_bias_hh_l1, (GATES,), torch.float32),
        ("x", x, (T, B, I), torch.float32),
        ("h0", h0, (2, B, H), torch.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y1 = torch.empty((T, B, H), dtype=torch.float32, device=gru_weight_ih_l0.device)
    y2 = torch.empty((2, B, H), dtype=torch.float32, device=gru_weight_ih_l0.device)
    x_gates_l0_biased = torch.empty(
        (T, B, GATES), dtype=torch.float32, device=gru_weight_ih_l0.device
    )
    h_l0 = torch.empty((B, H), dtype=torch.float32, device=gru_weight_ih_l0.device)
    h_gates_l0 = torch.empty((B, GATES), dtype=torch.float32, device=gru_weight_ih_l0.device)
    h_next_l0 = torch.empty((B, H), dtype=torch.float32, device=gru_weight_ih_l0.device)
    y_l0 = torch.empty((T, B, H), dtype=torch.float32, device=gru_weight_ih_l0.device)
    x_gates_l1_biased = torch.empty(
        (T, B, GATES), dtype=torch.float32, device=gru_weight_ih_l0.device
    )
    h_l1 = torch.empty((B, H), dtype=torch.float32, device=gru_weight_ih_l0.device)
    h_gates_l1 = torch.empty((B, GATES), dtype=torch.float32, device=gru_weight_ih_l0.device)
    h_next_l1 = torch.empty((B, H), dtype=torch.float32, device=gru_weight_ih_l0.device)
    grid = (triton.cdiv(GATES, X_GATES_L0_TILE_N), triton.cdiv(T * B, X_GATES_L0_TILE_M))
    x_gates_l0_kernel[grid](
        gru_weight_ih_l0, gru_bias_ih_l0, x, x_gates_l0_biased, T, B, I, GATES,
        X_GATES_L0_TILE_M, X_GATES_L0_TILE_N, X_GATES_L0_TILE_K, X_GATES_L0_GROUP,
        num_warps=X_GATES_L0_WARPS, num_stages=X_GATES_L0_STAGES,
    )
    grid = (triton.cdiv(B * H, H_L0_BLOCK),)
    h_l0_kernel[grid](
        h0, h_l0, B, H, H_L0_BLOCK,
        num_warps=H_L0_WARPS, num_stages=1,
    )
    for t in range(T):
        grid = (triton.cdiv(GATES, H_GATES_L0_TILE_N), triton.cdiv(B, H_GATES_L0_TILE_M))
        h_gates_l0_kernel[grid](
            gru_weight_hh_l0, h_l0, h_gates_l0, B, H, GATES, H_GATES_L0_TILE_M,
            H_GATES_L0_TILE_N, H_GATES_L0_TILE_K, H_GATES_L0_GROUP,
            num_warps=H_GATES_L0_WARPS, num_stages=H_GATES_L0_STAGES,
        )
        grid = (triton.cdiv(B * H, H_NEXT_L0_BLOCK),)
        h_next_l0_kernel[grid](
            gru_bias_hh_l0, x_gates_l0_biased[t], h_gates_l0, h_l0, h_next_l0, y_l0[t], B, H,
            H_NEXT_L0_BLOCK,
            num_warps=H_NEXT_L0_WARPS, num_stages=1,
        )
        h_l0, h_next_l0 = h_next_l0, h_l0
    grid = (triton.cdiv(GATES, X_GATES_L1_TILE_N), triton.cdiv(T * B, X_GATES_L1_TILE_M))
    x_gates_l1_kernel[grid](
        gru_weight_ih_l1, gru_bias_ih_l1, y_l0, x_gates_l1_biased, T, B, H, GATES,
        X_GATES_L1_TILE_M, X_GATES_L1_TILE_N, X_GATES_L1_TILE_K, X_GATES_L1_GROUP,
        num_warps=X_GATES_L1_WARPS, num_stages=X_GATES_L1_STAGES,
    )
    grid = (triton.cdiv(B * H, H_L1_BLOCK),)
    h_l1_kernel[grid](
        h0, h_l1, B, H, H_L1_BLOCK,
        num_warps=H_L1_WARPS, num_stages=1,
    )
    for t in range(T):
        grid = (triton.cdiv(GATES, H_GATES_L1_TILE_N), triton.cdiv(B, H_GATES_L1_TILE_M))
        h_gates_l1_kernel[grid](
            gru_weight_hh_l1, h_l1, h_gates_l1, B, H, GATES, H_GATES_L1_TILE_M,
            H_GATES_L1_TILE_N, H_GATES_L1_TILE_K, H_GATES_L1_GROUP,
            num_warps=H_GATES_L1_WARPS, num_stages=H_GATES_L1_STAGES,
        )
        grid = (triton.cdiv(B * H, H_NEXT_L1_BLOCK),)
        h_next_l1_kernel[grid](
            gru_bias_hh_l1, x_gates_l1_biased[t], h_gates_l1, h_l1, h_next_l1, y1[t], B, H,
            H_NEXT_L1_BLOCK,
            num_warps=H_NEXT_L1_WARPS, num_stages=1,
        )
        h_l1, h_next_l1 = h_next_l1, h_l1
    grid = (triton.cdiv(2 * B * H, HN_BLOCK),)
    hn_kernel[grid](
        h_l0, h_l1, y2, B, H, HN_BLOCK,
        num_warps=HN_WARPS, num_stages=1,
    )
    return y1, y2

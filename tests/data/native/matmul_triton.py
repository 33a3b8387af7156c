# SPDX-License-Identifier: Apache-2.0
# mkgen
# task = "matmul"
# backend = "triton"
# [[launch]]
# entry = "matmul_kernel"
# args = ["a", "b", "y"]
# grid = ["ceil_div(M, 64)", "ceil_div(N, 64)"]
# constexprs = { M = "M", N = "N", K = "K", TILE = 64, DEPTH = 32 }
# warps = 4
# stages = 3
import triton
import triton.language as tl


@triton.jit
def matmul_kernel(
    a,
    b,
    y,
    M: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
    TILE: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """y = a b: a program makes a tile of y."""
    row = (tl.program_id(0) * TILE + tl.arange(0, TILE))[:, None]
    col = (tl.program_id(1) * TILE + tl.arange(0, TILE))[None, :]
    depth = tl.arange(0, DEPTH)
    total = tl.zeros((TILE, TILE), tl.float32)
    for start in range(0, K, DEPTH):
        across, down = start + depth[None, :], start + depth[:, None]
        left = tl.load(a + row * K + across, mask=(row < M) & (across < K), other=0.0)
        right = tl.load(b + down * N + col, mask=(down < K) & (col < N), other=0.0)
        total += tl.dot(left, right, input_precision="ieee")
    tl.store(y + row * N + col, total, mask=(row < M) & (col < N))

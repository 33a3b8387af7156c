"""float32 matrix products on one NVIDIA GPU: full float32, TF32 in three, bfloat16 in six parts.

    python benchmarks/split_products.py [--size 4096] > FILE

Each of Triton's modes at several tile shapes beside cuBLAS in float32 (no TF32): median time with
a flushed cache, and the worst error of 256 rows against float64.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
import triton
import triton.language as tl

TILES = (
    (128, 128, 32, 8, 3), (128, 128, 64, 8, 2), (128, 64, 32, 4, 3), (64, 128, 32, 4, 3),
    (64, 64, 32, 4, 4), (128, 128, 16, 8, 4),
)  # fmt: skip


@triton.jit
def product(
    a, b, y, SIZE: tl.constexpr, PRECISION: tl.constexpr, TILE_M: tl.constexpr,  # noqa: N803
    TILE_N: tl.constexpr, TILE_K: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """One tile of y = a @ b, all SIZE x SIZE float32."""
    tile_m, tile_n = tl.swizzle2d(
        tl.program_id(1), tl.program_id(0), tl.num_programs(1), tl.num_programs(0), 8
    )
    m = tile_m * TILE_M + tl.arange(0, TILE_M)[:, None]
    n = tile_n * TILE_N + tl.arange(0, TILE_N)[None, :]
    total = tl.zeros((TILE_M, TILE_N), tl.float32)
    for first in range(0, SIZE, TILE_K):
        k = first + tl.arange(0, TILE_K)
        left = tl.load(a + m * SIZE + k[None, :], mask=k[None, :] < SIZE, other=0.0)
        right = tl.load(b + k[:, None] * SIZE + n, mask=k[:, None] < SIZE, other=0.0)
        total = tl.dot(left, right, total, input_precision=PRECISION)
    tl.store(y + m * SIZE + n, total, mask=(m < SIZE) & (n < SIZE))


def milliseconds(call: Callable[[], object], samples: int = 7) -> float:
    """Median time of `call`, 256 MB written before each."""
    flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    times = []
    for _ in range(samples + 2):
        flush.zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times[2:])


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=4096)
    size = parser.parse_args().size
    torch.backends.cuda.matmul.allow_tf32 = False
    a, b = (torch.randn(size, size, device="cuda") for _ in range(2))
    exact = a[:256].double() @ b.double()
    base = milliseconds(lambda: a @ b)
    print(f"cuBLAS float32: {base:.3f} ms, error {((a @ b)[:256] - exact).abs().max():.2g}")
    print("| mode | tile, warps, stages | time | of cuBLAS | error |\n" + "|---" * 5 + "|")
    y = torch.empty_like(a)
    for mode in ("ieee", "tf32x3", "bf16x6"):
        for tile_m, tile_n, tile_k, warps, stages in TILES:
            grid = (triton.cdiv(size, tile_n), triton.cdiv(size, tile_m))

            def call(
                grid: tuple[int, int] = grid, mode: str = mode, tile: tuple[int, int, int] =
                (tile_m, tile_n, tile_k), warps: int = warps, stages: int = stages,
            ) -> None:  # fmt: skip
                product[grid](a, b, y, size, mode, *tile, num_warps=warps, num_stages=stages)

            time = milliseconds(call)
            error = (y[:256] - exact).abs().max()
            shape = f"{tile_m} x {tile_n} x {tile_k}, {warps}, {stages}"
            print(f"| {mode} | {shape} | {time:.3f} ms | {base / time:.2f} | {error:.2g} |")


if __name__ == "__main__":
    main()

"""float16 and bfloat16 on the host: every operation rounds to nearest even."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from simt_programs import buffer, load

from mkgen_simt import build as simt_build

RNG = np.random.default_rng(8)


ARITHMETIC = """
#include <hip/hip_runtime.h>
#include <hip/HEADER>
constexpr int N = 65536;
using T = TYPE;
__global__ void k(const T* a, const T* b, const T* c, const double* wide, T* y) {
  const int t = blockIdx.x * 256 + threadIdx.x;
  y[t] = a[t] + b[t];
  y[N + t] = a[t] - b[t];
  y[2 * N + t] = a[t] * b[t];
  y[3 * N + t] = a[t] / b[t];
  y[4 * N + t] = __hfma(a[t], b[t], c[t]);
  y[5 * N + t] = T(wide[t]);
  y[6 * N + t] = T(static_cast<float>(wide[t]));
  y[7 * N + t] = hsqrt(a[t]);
}
extern "C" hipError_t run(const T* a, const T* b, const T* c, const double* wide, T* y,
                          hipStream_t stream) {
  hipLaunchKernelGGL(k, N / 256, 256, 0, stream, a, b, c, wide, y);
  return hipGetLastError();
}
"""


@pytest.mark.parametrize("f16c", [True, False])
@pytest.mark.parametrize(("dtype", "name", "header"), [
    (np.float16, "__half", "hip_fp16.h"), (ml_dtypes.bfloat16, "__hip_bfloat16", "hip_bf16.h"),
])  # fmt: skip
def test_sixteen_bit_arithmetic_rounds_to_nearest_even(
    dtype: type, name: str, header: str, f16c: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not f16c:
        monkeypatch.setattr(simt_build, "FLAGS", (*simt_build.FLAGS, "-mno-f16c"))
    every = np.arange(65536, dtype=np.uint16)
    a: np.ndarray = every.view(dtype)
    b: np.ndarray = RNG.permutation(every).view(dtype)
    c: np.ndarray = RNG.permutation(every).view(dtype)
    # Halfway cases and their neighbours among the wide values.
    with np.errstate(all="ignore"):
        wide = (
            a.astype(np.float64) + (every + 1).astype(np.uint16).view(dtype).astype(np.float64)
        ) / 2
    wide[::3] = np.nextafter(wide[::3], np.inf)
    wide[1::3] = np.nextafter(wide[1::3], -np.inf)
    y: np.ndarray = np.empty((8, 65536), dtype)
    inputs = {"a": a, "b": b, "c": c, "wide": wide}
    buffers = (*(buffer(n, v, "input") for n, v in inputs.items()), buffer("y", y, "output"))
    text = ARITHMETIC.replace("HEADER", header).replace("TYPE", name)
    got = load("hip", text, "run", buffers).run(inputs)["y"]
    with np.errstate(all="ignore"):
        single = [v.astype(np.float32) for v in (a, b, c)]
        long = [v.astype(np.longdouble) for v in (a, b, c)]
        expected = [
            (single[0] + single[1]).astype(dtype), (single[0] - single[1]).astype(dtype),
            (single[0] * single[1]).astype(dtype), (single[0] / single[1]).astype(dtype),
            _rounded(long[0] * long[1] + long[2], dtype),
            _rounded(wide.astype(np.longdouble), dtype),
            wide.astype(np.float32).astype(dtype), np.sqrt(single[0]).astype(dtype),
        ]  # fmt: skip
    for row, (g, e) in enumerate(zip(got, expected, strict=True)):
        same = (g == e) | (np.isnan(g) & np.isnan(e))
        if row == 4:  # 64 bits of mantissa are not always enough for the reference
            for i in np.flatnonzero(~same):
                x, w, z = (Fraction(float(v[i])) for v in (a, b, c))
                same[i] = _is_nearest(g[i], x * w + z)
        assert same.all(), (
            row,
            a[~same][:3],
            b[~same][:3],
            c[~same][:3],
            g[~same][:3],
            e[~same][:3],
        )


def _is_nearest(got: np.generic, exact: Fraction) -> bool:
    bits = int(got.view(np.uint16))
    near = [np.uint16(bits + step).view(got.dtype) for step in (-1, 1)]
    gap = abs(Fraction(float(got)) - exact)
    others = [abs(Fraction(float(n)) - exact) for n in near if np.isfinite(n)]
    return gap < min(others) or (gap == min(others) and bits % 2 == 0)


def _rounded(values: np.ndarray, dtype: type) -> np.ndarray:
    """Nearest of two candidates, ties to the even one; independent of the runtime's method."""
    with np.errstate(all="ignore"):
        near: np.ndarray = values.astype(np.float64).astype(np.float32).astype(dtype)
    bits = near.view(np.uint16).astype(np.int32)
    best: np.ndarray = near.copy()
    least: np.ndarray = np.full(values.shape, np.inf, np.longdouble)
    for step in (-1, 0, 1):
        other: np.ndarray = ((bits + step) & 0xFFFF).astype(np.uint16).view(dtype)
        usable = np.isfinite(near) & np.isfinite(other) & (np.signbit(other) == np.signbit(near))
        gap = np.abs(np.where(usable, other.astype(np.longdouble), 0) - np.where(usable, values, 0))
        even = ((bits + step) & 1) == 0
        better = usable & ((gap < least) | ((gap == least) & even))
        best, least = np.where(better, other, best), np.where(better, gap, least)
    return best

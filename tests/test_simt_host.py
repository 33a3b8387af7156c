"""SIMT-on-host: kernels as people write them, and the faults it has to see."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from mkgen.errors import CompileError, ExecutionError
from mkgen.program import Buffer, BufferRole, Program, Source, Variant
from mkgen.target import Target
from mkgen_simt import build as simt_build
from mkgen_simt.host import SimtHostExecutor, SimtProgram

ORDERS = SimtHostExecutor.schedules
RNG = np.random.default_rng(7)


def _buffer(name: str, array: np.ndarray, role: str, **more: object) -> Buffer:
    return Buffer.model_validate(
        {"name": name, "dtype": array.dtype.name, "shape": array.shape, "role": role, **more}
    )


def _load(
    language: str,
    text: str,
    launcher: str,
    buffers: tuple[Buffer, ...],
    lanes: int = 32,
    **more: object,
) -> SimtProgram:
    source = Source.model_validate(
        {"name": f"kernel.{'cu' if language == 'cuda' else 'hip'}", "language": language,
         "head": "", "sizes": "", "body": text}
    )  # fmt: skip
    program = Program(
        task="test", task_hash="0", workload="check",
        target=Target.parse("cuda:sm_90a" if language == "cuda" else "hip:gfx942"),
        sources=(source,), buffers=buffers, steps=(),
        variant=Variant(templates=("c/test",), parameters={}, index_bits=32),
        launcher=launcher, constants={},
    )  # fmt: skip
    executor = SimtHostExecutor(language, lambda _: lanes, **more)  # type: ignore[arg-type]
    assert executor.accepts(program) is None
    return executor.load(program, None, Path())


def _cuda(kernel: str, launch: str, **more: str) -> str:
    """A CUDA file with one kernel `k(const float* x, float* y)` and its launcher `run`."""
    return f"""
#include <cuda_runtime.h>
extern "C" __global__ void k(const float* __restrict__ x, float* __restrict__ y) {{
{kernel}
}}
#ifndef __CUDACC_RTC__
extern "C" cudaError_t run(const float* x, float* y, cudaStream_t stream) {{
  cudaLaunchConfig_t config = {{}};
  {launch}
  config.stream = stream;
  return cudaLaunchKernelEx(&config, k, x, y);
}}
#endif
"""


def _run_cuda(
    kernel: str, launch: str, x: np.ndarray, y: np.ndarray, schedule: str = "forward", **more: object
) -> np.ndarray:
    buffers = (_buffer("x", x, "input"), _buffer("y", y, "output"))
    loaded = _load("cuda", _cuda(kernel, launch), "run", buffers, **more)  # type: ignore[arg-type]
    try:
        return loaded.run({"x": x}, schedule)["y"]
    finally:
        loaded.close()


SOFTMAX = """
#include <hip/hip_runtime.h>
constexpr int ROWS = 5, COLS = 1000;
constexpr int THREADS = 256, VALUES = (COLS + THREADS - 1) / THREADS;
constexpr int WAVE = 64, WAVES = THREADS / WAVE;

struct Max { __device__ float operator()(float a, float b) const { return fmaxf(a, b); } };
struct Sum { __device__ float operator()(float a, float b) const { return a + b; } };

template <class Combine>
__device__ float reduce_workgroup(float value, Combine combine) {
  __shared__ float partial[WAVES];
  for (int offset = WAVE / 2; offset > 0; offset /= 2)
    value = combine(value, __shfl_xor(value, offset));
  __syncthreads();  // the previous reduction may still be reading `partial`
  if (threadIdx.x % WAVE == 0) partial[threadIdx.x / WAVE] = value;
  __syncthreads();
  value = partial[0];
  for (int wave = 1; wave < WAVES; ++wave) value = combine(value, partial[wave]);
  return value;
}

extern "C" __global__ void __launch_bounds__(THREADS)
softmax_kernel(const float* __restrict__ x, float* __restrict__ y) {
  const size_t row = size_t(blockIdx.x) * COLS;
  float logit[VALUES], highest = -INFINITY, total = 0.0f;

#pragma unroll
  for (int i = 0; i < VALUES; ++i) {
    const int col = i * THREADS + threadIdx.x;
    logit[i] = col < COLS ? x[row + col] : -INFINITY;
    highest = fmaxf(highest, logit[i]);
  }
  highest = reduce_workgroup(highest, Max());

#pragma unroll
  for (int i = 0; i < VALUES; ++i) {
    logit[i] = expf(logit[i] - highest);
    total += logit[i];
  }
  total = reduce_workgroup(total, Sum());

#pragma unroll
  for (int i = 0; i < VALUES; ++i) {
    const int col = i * THREADS + threadIdx.x;
    if (col < COLS) y[row + col] = logit[i] / total;
  }
}

#ifndef __HIPCC_RTC__
extern "C" hipError_t softmax_f32(const float* x, float* y, hipStream_t stream) {
  hipLaunchKernelGGL(softmax_kernel, dim3(ROWS), dim3(THREADS), 0, stream, x, y);
  return hipGetLastError();
}
#endif
"""


def test_softmax_of_hip_at_wave_64_in_every_order() -> None:
    x = RNG.standard_normal((5, 1000), dtype=np.float32)
    buffers = (_buffer("x", x, "input"), _buffer("y", x, "output"))
    loaded = _load("hip", SOFTMAX, "softmax_f32", buffers, lanes=64)
    exact = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    exact /= exact.sum(1, keepdims=True)
    for order in ORDERS:
        assert np.abs(loaded.run({"x": x}, order)["y"] - exact).max() < 1e-8, order
        assert loaded.launches() == [("softmax_kernel", (5, 1, 1), (256, 1, 1), 0)]


MATMUL = """
#include <cuda_runtime.h>
constexpr int M = 100, N = 72, K = 50;
constexpr int TILE = 32, SIDE = 16, EACH = TILE / SIDE;

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
matmul_kernel(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c) {
  __shared__ __align__(16) float tile_a[TILE][TILE + 1], tile_b[TILE][TILE];
  const int row = blockIdx.y * TILE, col = blockIdx.x * TILE;
  float sum[EACH][EACH] = {};
  for (int k = 0; k < K; k += TILE) {
    for (int i = threadIdx.y; i < TILE; i += SIDE)
      for (int j = threadIdx.x; j < TILE; j += SIDE) {
        tile_a[i][j] = row + i < M && k + j < K ? a[(row + i) * K + k + j] : 0.0f;
        tile_b[i][j] = k + i < K && col + j < N ? b[(k + i) * N + col + j] : 0.0f;
      }
    __syncthreads();
    for (int t = 0; t < TILE; ++t)
      for (int i = 0; i < EACH; ++i)
        for (int j = 0; j < EACH; ++j)
          sum[i][j] = fmaf(tile_a[threadIdx.y + i * SIDE][t], tile_b[t][threadIdx.x + j * SIDE], sum[i][j]);
    BARRIER
  }
  for (int i = 0; i < EACH; ++i)
    for (int j = 0; j < EACH; ++j) {
      const int r = row + threadIdx.y + i * SIDE, s = col + threadIdx.x + j * SIDE;
      if (r < M && s < N) c[r * N + s] = sum[i][j];
    }
}

extern "C" cudaError_t matmul_f32(const float* a, const float* b, float* c, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3((N + TILE - 1) / TILE, (M + TILE - 1) / TILE);
  config.blockDim = dim3(SIDE, SIDE);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, matmul_kernel, a, b, c);
}
"""


def _matmul_errors(text: str) -> dict[str, float]:
    a = RNG.standard_normal((100, 50), dtype=np.float32)
    b = RNG.standard_normal((50, 72), dtype=np.float32)
    c = np.empty((100, 72), np.float32)
    buffers = (_buffer("a", a, "input"), _buffer("b", b, "parameter"), _buffer("c", c, "output"))
    loaded = _load("cuda", text, "matmul_f32", buffers)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    return {o: float(np.abs(loaded.run({"a": a, "b": b}, o)["c"] - exact).max()) for o in ORDERS}


def test_tiled_matmul_with_register_blocking() -> None:
    assert max(_matmul_errors(MATMUL.replace("BARRIER", "__syncthreads();")).values()) < 1e-5


def test_a_missing_barrier_gives_wrong_numbers_in_some_order() -> None:
    assert max(_matmul_errors(MATMUL.replace("BARRIER", "")).values()) > 1e-2


@pytest.mark.parametrize("spelling", ["extern __shared__ float buf[];", "extern __shared__ __align__(16) float buf[];"])
def test_dynamic_shared_memory(spelling: str) -> None:
    x = RNG.standard_normal(300, dtype=np.float32)
    kernel = f"{spelling}\n buf[threadIdx.x] = x[threadIdx.x]; __syncthreads(); y[threadIdx.x] = buf[299 - threadIdx.x];"
    launch = "config.blockDim = 300; config.dynamicSmemBytes = 1200;"
    for order in ORDERS:
        assert np.array_equal(_run_cuda(kernel, launch, x, x, order), x[::-1])


def test_dynamic_shared_memory_of_hip_and_its_overrun() -> None:
    text = """
#include <hip/hip_runtime.h>
__global__ void k(const float* x, float* y, int n) {
  HIP_DYNAMIC_SHARED(float, buf)
  buf[threadIdx.x] = x[threadIdx.x]; __syncthreads(); y[threadIdx.x] = buf[n - 1 - threadIdx.x];
}
extern "C" hipError_t run(const float* x, float* y, hipStream_t stream) {
  hipLaunchKernelGGL(k, 100, 100, BYTES, stream, x, y, 100);
  return hipGetLastError();
}
"""
    x = RNG.standard_normal(100, dtype=np.float32)
    buffers = (_buffer("x", x, "input"), _buffer("y", x, "output"))
    good = _load("hip", text.replace("BYTES", "400"), "run", buffers, 64)
    assert np.array_equal(good.run({"x": x})["y"], x[::-1])
    with pytest.raises(ExecutionError, match="past its 396 bytes of dynamic shared"):
        _load("hip", text.replace("BYTES", "396"), "run", buffers, 64).run({"x": x})


SHUFFLES = """
#include <hip/hip_runtime.h>
constexpr int N = 192;
__global__ void k(const int* x, int* y) {
  const int t = threadIdx.x, v = x[t];
  y[t] = __shfl(v, 3);
  y[N + t] = __shfl_up(v, 5);
  y[2 * N + t] = __shfl_down(v, 7, 16);
  y[3 * N + t] = __shfl_xor(v, 9);
  y[4 * N + t] = __popcll(__ballot(v % 3 == 0));
  y[5 * N + t] = __any(v == 100) * 2 + __all(v >= 0);
  // Half a wave only: the others go on, as on the device.
  y[6 * N + t] = t % warpSize < warpSize / 2 ? __shfl_down(v, 1, warpSize / 2) : -2;
  y[7 * N + t] = static_cast<int>(__shfl(static_cast<double>(v) / 2, t % warpSize ^ 1) * 2);
}
extern "C" hipError_t run(const int* x, int* y, hipStream_t stream) {
  hipLaunchKernelGGL(k, dim3(1), dim3(N), 0, stream, x, y);
  return hipGetLastError();
}
"""


@pytest.mark.parametrize("lanes", [32, 64])
def test_shuffles_and_votes(lanes: int) -> None:
    x = RNG.permutation(192).astype(np.int32)
    y = np.empty((8, 192), np.int32)
    buffers = (_buffer("x", x, "input"), _buffer("y", y, "output"))
    loaded = _load("hip", SHUFFLES, "run", buffers, lanes)
    t = np.arange(192)
    lane, first = t % lanes, t - t % lanes
    warps = x.reshape(-1, lanes)
    expected = np.stack([
        x[first + 3],
        np.where(lane < 5, x, x[t - np.where(lane < 5, 0, 5)]),
        np.where(t % 16 + 7 < 16, x[np.minimum(t + 7, 191)], x),
        x[t ^ 9],
        np.repeat((warps % 3 == 0).sum(1), lanes),
        np.repeat((warps == 100).any(1) * 2 + 1, lanes),
        np.where(lane < lanes // 2, x[np.where((lane + 1) % (lanes // 2) == 0, t, (t + 1) % 192)], -2),
        x[t ^ 1],
    ])  # fmt: skip
    for order in ORDERS:
        assert np.array_equal(loaded.run({"x": x}, order)["y"], expected), order


def test_cuda_shuffles_with_partial_masks() -> None:
    kernel = """
  const int t = threadIdx.x;
  float v = x[t];
  if (t < 16) {
    for (int d = 8; d > 0; d /= 2) v += __shfl_xor_sync(0x0000ffffu, v, d, 16);
  } else {
    for (int d = 8; d > 0; d /= 2) v = fmaxf(v, __shfl_xor_sync(0xffff0000u, v, d));
  }
  __syncwarp();
  y[t] = v + static_cast<float>(__popc(__ballot_sync(0xffffffffu, t & 1)));"""
    x = RNG.integers(0, 50, 32).astype(np.float32)
    for order in ORDERS:
        y = _run_cuda(kernel, "config.blockDim = 32;", x, x, order)
        assert np.array_equal(y, np.repeat([x[:16].sum(), x[16:].max()], 16) + 16), order


ATOMICS = """
#include <cuda_runtime.h>
__global__ void k(int* i, unsigned* u, unsigned long long* l, float* f, double* d) {
  const int t = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(&i[0], t); atomicMax(&i[1], t - 50); atomicMin(&i[2], -t); atomicSub(&i[3], 1);
  atomicAdd(&u[0], 1); atomicMax(&u[1], static_cast<unsigned>(t)); atomicOr(&u[2], 1u << (t % 32)); atomicInc(&u[3], 9u);
  atomicAdd(l, 1ull << 33);
  atomicAdd(f, 0.5f); atomicAdd(d, 0.25);
  // A maximum of floats the way it is written where there is none.
  unsigned* address = reinterpret_cast<unsigned*>(f + 1);
  unsigned seen = *address, assumed;
  do {
    assumed = seen;
    seen = atomicCAS(address, assumed, __float_as_uint(fmaxf(__uint_as_float(assumed), t * 0.5f)));
  } while (seen != assumed);
  if (t == 77) atomicExch(&f[2], 77.0f);
}
extern "C" cudaError_t run(int* i, unsigned* u, unsigned long long* l, float* f, double* d, cudaStream_t stream) {
  cudaLaunchConfig_t config = {4, 64, 0, stream, nullptr, 0};
  cudaMemsetAsync(u, 0, 16, stream);
  return cudaLaunchKernelEx(&config, k, i, u, l, f, d);
}
"""


def test_atomics_and_initial_values() -> None:
    shapes = {"i": ("int32", 4), "u": ("int32", 4), "l": ("int64", 1), "f": ("float32", 3), "d": ("float64", 1)}
    buffers = tuple(
        Buffer.model_validate({"name": n, "dtype": t, "shape": (s,), "role": "output", "initial": 0.0})
        for n, (t, s) in shapes.items()
    )
    y = _load("cuda", ATOMICS, "run", buffers).run({}, "random")
    assert y["i"].tolist() == [255 * 128, 205, -255, -256]
    assert y["u"].view(np.uint32).tolist() == [256, 255, 0xFFFFFFFF, 256 % 10]
    assert y["l"].tolist() == [256 << 33]
    assert y["f"].tolist() == [128.0, 127.5, 77.0]
    assert y["d"].tolist() == [64.0]


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
extern "C" hipError_t run(const T* a, const T* b, const T* c, const double* wide, T* y, hipStream_t stream) {
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
    a = every.view(dtype)
    b, c = (RNG.permutation(every).view(dtype) for _ in range(2))
    # Halfway cases and their neighbours among the wide values.
    with np.errstate(all="ignore"):
        wide = (a.astype(np.float64) + (every + 1).astype(np.uint16).view(dtype).astype(np.float64)) / 2
    wide[::3] = np.nextafter(wide[::3], np.inf)
    wide[1::3] = np.nextafter(wide[1::3], -np.inf)
    y = np.empty((8, 65536), dtype)
    buffers = (*(_buffer(n, v, "input") for n, v in zip(["a", "b", "c", "wide"], [a, b, c, wide], strict=True)),
               _buffer("y", y, "output"))  # fmt: skip
    text = ARITHMETIC.replace("HEADER", header).replace("TYPE", name)
    got = _load("hip", text, "run", buffers).run({"a": a, "b": b, "c": c, "wide": wide})["y"]
    with np.errstate(all="ignore"):
        single = [v.astype(np.float32) for v in (a, b, c)]
        long = [v.astype(np.longdouble) for v in (a, b, c)]
        expected = [
            (single[0] + single[1]).astype(dtype), (single[0] - single[1]).astype(dtype),
            (single[0] * single[1]).astype(dtype), (single[0] / single[1]).astype(dtype),
            _rounded(long[0] * long[1] + long[2], dtype), _rounded(wide.astype(np.longdouble), dtype),
            wide.astype(np.float32).astype(dtype), np.sqrt(single[0]).astype(dtype),
        ]  # fmt: skip
    for row, (g, e) in enumerate(zip(got, expected, strict=True)):
        same = (g == e) | (np.isnan(g) & np.isnan(e))
        if row == 4:  # 64 bits of mantissa are not always enough for the reference
            for i in np.flatnonzero(~same):
                same[i] = _is_nearest(g[i], Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i])))
        assert same.all(), (row, a[~same][:3], b[~same][:3], c[~same][:3], g[~same][:3], e[~same][:3])


def _is_nearest(got: np.generic, exact: Fraction) -> bool:
    bits = int(got.view(np.uint16))
    near = [np.uint16(bits + step).view(got.dtype) for step in (-1, 1)]
    gap = abs(Fraction(float(got)) - exact)
    others = [abs(Fraction(float(n)) - exact) for n in near if np.isfinite(n)]
    return gap < min(others) or (gap == min(others) and bits % 2 == 0)


def _rounded(values: np.ndarray, dtype: type) -> np.ndarray:
    """Nearest of two candidates, ties to the even one; independent of the runtime's method."""
    with np.errstate(all="ignore"):
        near = values.astype(np.float64).astype(np.float32).astype(dtype)
    bits = near.view(np.uint16).astype(np.int32)
    best, least = near.copy(), np.full(values.shape, np.inf, np.longdouble)
    for step in (-1, 0, 1):
        other = ((bits + step) & 0xFFFF).astype(np.uint16).view(dtype)
        usable = np.isfinite(near) & np.isfinite(other) & (np.signbit(other) == np.signbit(near))
        gap = np.abs(np.where(usable, other.astype(np.longdouble), 0) - np.where(usable, values, 0))
        even = ((bits + step) & 1) == 0
        better = usable & ((gap < least) | ((gap == least) & even))
        best, least = np.where(better, other, best), np.where(better, gap, least)
    return best


def test_uninitialised_shared_memory_is_nan() -> None:
    x = np.ones(64, np.float32)
    static = "__shared__ float s[64]; if (threadIdx.x != 5) s[threadIdx.x] = 1; __syncthreads(); y[threadIdx.x] = s[threadIdx.x];"
    dynamic = static.replace("__shared__ float s[64];", "extern __shared__ float s[];")
    launch = "config.blockDim = 64; config.dynamicSmemBytes = 256;"
    for kernel in (static, dynamic):
        y = _run_cuda(kernel, launch, x, x)
        assert np.isnan(y[5]) and np.array_equal(np.delete(y, 5), np.ones(63))


@pytest.mark.parametrize(("kernel", "message"), [
    ("if (threadIdx.x < 40) __syncthreads(); y[threadIdx.x] = 1;", r"kernel k, block \(0, 0, 0\): .*waits at __syncthreads \(line 4\).*has returned"),
    ("if (threadIdx.x < 40)\n __syncthreads();\n else\n __syncthreads();\n y[threadIdx.x] = 1;", "different barriers"),
    ("if (threadIdx.x < 40) __syncthreads(); else __syncthreads_or(1); y[0] = 1;", "different barriers"),
    ("if (threadIdx.x < 20) y[threadIdx.x] = __shfl_down_sync(~0u, x[0], 1); else __syncthreads();", "lanes of one mask diverge"),
    ("if (threadIdx.x < 20) return; y[threadIdx.x] = __shfl_xor_sync(~0u, x[0], 31);", "reads lane .*has returned"),
    ("y[threadIdx.x] = __shfl_xor_sync(threadIdx.x < 32 ? 0xffffu : ~0u, x[0], 1);", "not in its own mask"),
    ("if (threadIdx.x % 32 < 16) y[threadIdx.x] = __shfl_down_sync(0xffffu, x[0], 1);", "not in the mask"),
    ("if (threadIdx.x == 63) __trap(); y[threadIdx.x] = 1;", "trap"),
])  # fmt: skip
@pytest.mark.parametrize("order", ORDERS)
def test_divergence_is_reported(kernel: str, message: str, order: str) -> None:
    x = np.ones(64, np.float32)
    with pytest.raises(ExecutionError, match=message):
        _run_cuda(kernel, "config.blockDim = 64;", x, x, order)


def test_a_program_runs_again_after_a_fault() -> None:
    x = np.ones(64, np.float32)
    buffers = (_buffer("x", x, "input"), _buffer("y", x, "output"))
    text = _cuda("if (x[0] > 1 && threadIdx.x == 0) return; __syncthreads(); y[threadIdx.x] = x[threadIdx.x];", "config.blockDim = 64;")
    loaded = _load("cuda", text, "run", buffers)
    for _ in range(2):
        with pytest.raises(ExecutionError, match="has returned"):
            loaded.run({"x": x * 2})
        assert np.array_equal(loaded.run({"x": x})["y"], x)


@pytest.mark.parametrize(("kernel", "message"), [
    ("y[threadIdx.x + 1] = 1;", "4 bytes after buffer 'y'"),
    ("y[static_cast<int>(threadIdx.x) - 3] = 1;", "12 bytes before buffer 'y'"),
    ("const_cast<float*>(x)[3] = 2; y[threadIdx.x] = 1;", "changed buffer 'x', whose role is input"),
])  # fmt: skip
def test_out_of_bounds_writes_are_reported(kernel: str, message: str) -> None:
    x = np.ones(64, np.float32)
    with pytest.raises(ExecutionError, match=message):
        _run_cuda(kernel, "config.blockDim = 64;", x, x)


def test_reads_out_of_bounds_and_unwritten_outputs_are_nan() -> None:
    x = np.ones(64, np.float32)
    y = _run_cuda("if (threadIdx.x != 9) y[threadIdx.x] = x[threadIdx.x + 1];", "config.blockDim = 64;", x, x)
    assert np.flatnonzero(np.isnan(y)).tolist() == [9, 63]


@pytest.mark.parametrize(("launch", "message"), [
    ("config.blockDim = dim3(64, 32);", "64 x 32 x 1 threads exceeds 1024"),
    ("config.gridDim = dim3(1, 65536);", "65535"),
    ("config.dynamicSmemBytes = 49153;", "49153 bytes of dynamic shared memory exceed the limit of 49152"),
    ("config.dynamicSmemBytes = 1000; cudaFuncSetAttribute(k, cudaFuncAttributeMaxDynamicSharedMemorySize, 232449);", "the device has 232448"),
    ("config.blockDim = 0;", "is 0"),
])  # fmt: skip
def test_launches_over_the_limit_are_refused(launch: str, message: str) -> None:
    x = np.ones(1, np.float32)
    with pytest.raises(ExecutionError, match=message):
        _run_cuda("y[0] = 1;", launch, x, x)


def test_opting_in_allows_more_dynamic_shared_memory() -> None:
    x = np.ones(1, np.float32)
    launch = "cudaFuncSetAttribute(k, cudaFuncAttributeMaxDynamicSharedMemorySize, 100000); config.dynamicSmemBytes = 100000;"
    assert _run_cuda("extern __shared__ float s[]; s[24999] = x[0]; y[0] = s[24999];", launch, x, x) == 1


def test_hip_refuses_2_to_the_32_threads_along_an_axis() -> None:
    text = SOFTMAX.replace("dim3(ROWS), dim3(THREADS)", "dim3(1u << 22), dim3(1024)")
    x = RNG.standard_normal((5, 1000), dtype=np.float32)
    buffers = (_buffer("x", x, "input"), _buffer("y", x, "output"))
    with pytest.raises(ExecutionError, match=r"2\^32"):
        _load("hip", text, "softmax_f32", buffers, 64).run({"x": x})


def test_blocks_and_threads_of_three_axes_all_run_once() -> None:
    kernel = """
  const int t = threadIdx.x + 3 * (threadIdx.y + 4 * threadIdx.z);
  const int b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  y[b * 24 + t] = x[b * 24 + t] + atomicAdd(&y[b * 24 + t], 0.0f) * 0 + blockDim.z;"""
    x = np.arange(7 * 3 * 2 * 24, dtype=np.float32)
    launch = "config.gridDim = dim3(7, 3, 2); config.blockDim = dim3(3, 4, 2); cudaMemsetAsync(y, 0, 4032, stream);"
    for order in ORDERS:
        assert np.array_equal(_run_cuda(kernel, launch, x, x, order), x + 2)


def test_strides_alias_state_and_alignment() -> None:
    text = """
#include <cuda_runtime.h>
__global__ void k(const float* x, float* y, int* count) {
  y[threadIdx.x] = 2 * x[threadIdx.x % 4 * 8 + threadIdx.x / 4];
  if (threadIdx.x == 0) *count += 1;
}
extern "C" cudaError_t run(const float* x, int* count, float* y, float* same, cudaStream_t s) {
  if (y != same || reinterpret_cast<size_t>(y) % 8 != 4) return cudaErrorInvalidValue;
  cudaLaunchConfig_t config = {1, 12, 0, s, nullptr, 0};
  return cudaLaunchKernelEx(&config, k, x, y, count);
}
"""
    x = RNG.standard_normal((3, 4), dtype=np.float32)
    count = np.full(1, 41, np.int32)
    buffers = (
        _buffer("x", x, "input", strides=(1, 8)), _buffer("count", count, "state"),
        _buffer("y", x, "output", alignment=4), _buffer("view", x, "output", alias="y"),
    )  # fmt: skip
    loaded = _load("cuda", text, "run", buffers)
    for _ in range(2):
        y = loaded.run({"x": x, "count": count})
        assert np.array_equal(y["y"], 2 * x) and np.array_equal(y["view"], 2 * x)
        assert y["count"].tolist() == [42]


def test_bad_text_arguments_and_orders_are_explained() -> None:
    x = np.ones(4, np.float32)
    buffers = (_buffer("x", x, "input"), _buffer("y", x, "output"))
    with pytest.raises(CompileError, match=r"kernel.cu.*nonsense") as caught:
        _load("cuda", _cuda("nonsense();", ""), "run", buffers)
    assert "nonsense" in caught.value.log
    text = _cuda("y[threadIdx.x] = 1;", "config.blockDim = 4;")
    with pytest.raises(ExecutionError, match="takes 3 arguments, the program has 2"):
        _load("cuda", text, "run", buffers[:1]).run({"x": x})
    loaded = _load("cuda", text, "run", buffers)
    with pytest.raises(ExecutionError, match="Did you mean 'forward'"):
        loaded.run({"x": x}, "forwards")
    with pytest.raises(ExecutionError, match="no array was given for the input 'x'"):
        loaded.run({})
    with pytest.raises(ExecutionError, match="wants float32"):
        loaded.run({"x": np.ones(5, np.float32)})


def test_a_damaged_cache_entry_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKGEN_CACHE", str(tmp_path))
    x = np.ones(4, np.float32)
    arguments = ("y[threadIdx.x] = 3;", "config.blockDim = 4;", x, x)
    _run_cuda(*arguments)
    (library,) = tmp_path.rglob("kernel.so")
    library.write_bytes(b"not a library")
    assert np.array_equal(_run_cuda(*arguments), x * 3)


@pytest.mark.parametrize("ucontext", [False, True])
def test_other_compilers_and_switches(ucontext: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    gxx = simt_build._on_path("g++")
    if gxx is not None:
        monkeypatch.setattr(simt_build, "find_compiler", lambda: gxx)
    if ucontext:
        monkeypatch.setattr(simt_build, "FLAGS", (*simt_build.FLAGS, "-DMKGEN_SIMT_UCONTEXT=1"))
    test_softmax_of_hip_at_wave_64_in_every_order()


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, mkgen_simt.host; print([m for m in ('torch', 'triton', 'jax', 'cupy', 'dpctl') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

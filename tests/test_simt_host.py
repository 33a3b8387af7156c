"""SIMT-on-host: kernels as people write them, and the faults it has to see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from simt_programs import buffer, load

from mkgen.errors import CompileError, ExecutionError
from mkgen.program import Buffer
from mkgen_simt import build as simt_build
from mkgen_simt.host import SimtHostExecutor

ORDERS = SimtHostExecutor.schedules
RNG = np.random.default_rng(7)


def _cuda(kernel: str, launch: str, **more: str) -> str:
    """A CUDA file with the kernel `k(x, y)`, `t` its thread's index, and the launcher `run`."""
    return f"""
#include <cuda_runtime.h>
#define OPT_IN(k, n) cudaFuncSetAttribute(k, cudaFuncAttributeMaxDynamicSharedMemorySize, n)
extern "C" __global__ void k(const float* __restrict__ x, float* __restrict__ y) {{
  const int t = threadIdx.x;
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
    kernel: str,
    launch: str,
    x: np.ndarray,
    y: np.ndarray,
    schedule: str = "forward",
    **more: object,
) -> np.ndarray:
    buffers = (buffer("x", x, "input"), buffer("y", y, "output"))
    loaded = load("cuda", _cuda(kernel, launch), "run", buffers, **more)  # type: ignore[arg-type]
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
    buffers = (buffer("x", x, "input"), buffer("y", x, "output"))
    loaded = load("hip", SOFTMAX, "softmax_f32", buffers, lanes=64)
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
          sum[i][j] = fmaf(tile_a[threadIdx.y + i * SIDE][t], tile_b[t][threadIdx.x + j * SIDE],
                           sum[i][j]);
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
    buffers = (buffer("a", a, "input"), buffer("b", b, "parameter"), buffer("c", c, "output"))
    loaded = load("cuda", text, "matmul_f32", buffers)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    return {o: float(np.abs(loaded.run({"a": a, "b": b}, o)["c"] - exact).max()) for o in ORDERS}


def test_tiled_matmul_with_register_blocking() -> None:
    assert max(_matmul_errors(MATMUL.replace("BARRIER", "__syncthreads();")).values()) < 1e-5


def test_a_missing_barrier_gives_wrong_numbers_in_some_order() -> None:
    assert max(_matmul_errors(MATMUL.replace("BARRIER", "")).values()) > 1e-2


@pytest.mark.parametrize(
    "spelling", ["extern __shared__ float buf[];", "extern __shared__ __align__(16) float buf[];"]
)
def test_dynamic_shared_memory(spelling: str) -> None:
    x = RNG.standard_normal(300, dtype=np.float32)
    kernel = f"{spelling} buf[t] = x[t]; __syncthreads(); y[t] = buf[299 - t];"
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
    buffers = (buffer("x", x, "input"), buffer("y", x, "output"))
    good = load("hip", text.replace("BYTES", "400"), "run", buffers, 64)
    assert np.array_equal(good.run({"x": x})["y"], x[::-1])
    with pytest.raises(ExecutionError, match="past its 396 bytes of dynamic shared"):
        load("hip", text.replace("BYTES", "396"), "run", buffers, 64).run({"x": x})


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
    buffers = (buffer("x", x, "input"), buffer("y", y, "output"))
    loaded = load("hip", SHUFFLES, "run", buffers, lanes)
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
        np.where(lane < lanes // 2, x[np.where((lane + 1) % (lanes // 2), (t + 1) % 192, t)], -2),
        x[t ^ 1],
    ])  # fmt: skip
    for order in ORDERS:
        assert np.array_equal(loaded.run({"x": x}, order)["y"], expected), order


def test_cuda_shuffles_with_partial_masks() -> None:
    kernel = """
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
  atomicAdd(&u[0], 1); atomicMax(&u[1], static_cast<unsigned>(t)); atomicOr(&u[2], 1u << (t % 32));
  atomicInc(&u[3], 9u);
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
extern "C" cudaError_t run(int* i, unsigned* u, unsigned long long* l, float* f, double* d,
                           cudaStream_t stream) {
  cudaLaunchConfig_t config = {4, 64, 0, stream, nullptr, 0};
  cudaMemsetAsync(u, 0, 16, stream);
  return cudaLaunchKernelEx(&config, k, i, u, l, f, d);
}
"""


def test_atomics_and_initial_values() -> None:
    shapes = {
        "i": ("int32", 4),
        "u": ("int32", 4),
        "l": ("int64", 1),
        "f": ("float32", 3),
        "d": ("float64", 1),
    }
    buffers = tuple(
        Buffer.model_validate(
            {"name": n, "dtype": t, "shape": (s,), "role": "output", "initial": 0.0}
        )
        for n, (t, s) in shapes.items()
    )
    y = load("cuda", ATOMICS, "run", buffers).run({}, "random")
    assert y["i"].tolist() == [255 * 128, 205, -255, -256]
    assert y["u"].view(np.uint32).tolist() == [256, 255, 0xFFFFFFFF, 256 % 10]
    assert y["l"].tolist() == [256 << 33]
    assert y["f"].tolist() == [128.0, 127.5, 77.0]
    assert y["d"].tolist() == [64.0]


def test_uninitialised_shared_memory_is_nan() -> None:
    x = np.ones(64, np.float32)
    static = "__shared__ float s[64]; if (t != 5) s[t] = 1; __syncthreads(); y[t] = s[t];"
    dynamic = static.replace("__shared__ float s[64];", "extern __shared__ float s[];")
    launch = "config.blockDim = 64; config.dynamicSmemBytes = 256;"
    for kernel in (static, dynamic):
        y = _run_cuda(kernel, launch, x, x)
        assert np.isnan(y[5]) and np.array_equal(np.delete(y, 5), np.ones(63))


@pytest.mark.parametrize(("kernel", "message"), [
    ("if (t < 40) __syncthreads(); y[t] = 1;",
     r"kernel k, block \(0, 0, 0\): .*waits at __syncthreads \(line 6\).*has returned"),
    ("if (t < 40)\n __syncthreads();\n else\n __syncthreads();\n y[t] = 1;", "different barriers"),
    ("if (t < 40) __syncthreads(); else __syncthreads_or(1); y[0] = 1;", "different barriers"),
    ("if (t < 20) y[t] = __shfl_down_sync(~0u, x[0], 1); else __syncthreads();",
     "lanes of one mask diverge"),
    ("if (t < 20) return; y[t] = __shfl_xor_sync(~0u, x[0], 31);", "reads lane .*has returned"),
    ("y[t] = __shfl_xor_sync(t < 32 ? 0xffffu : ~0u, x[0], 1);", "not in its own mask"),
    ("if (t % 32 < 16) y[t] = __shfl_down_sync(0xffffu, x[0], 1);", "not in the mask"),
    ("if (t == 63) __trap(); y[t] = 1;", "trap"),
])  # fmt: skip
@pytest.mark.parametrize("order", ORDERS)
def test_divergence_is_reported(kernel: str, message: str, order: str) -> None:
    x = np.ones(64, np.float32)
    with pytest.raises(ExecutionError, match=message):
        _run_cuda(kernel, "config.blockDim = 64;", x, x, order)


def test_a_program_runs_again_after_a_fault() -> None:
    x = np.ones(64, np.float32)
    buffers = (buffer("x", x, "input"), buffer("y", x, "output"))
    text = _cuda(
        "if (x[0] > 1 && t == 0) return; __syncthreads(); y[t] = x[t];",
        "config.blockDim = 64;",
    )
    loaded = load("cuda", text, "run", buffers)
    for _ in range(2):
        with pytest.raises(ExecutionError, match="has returned"):
            loaded.run({"x": x * 2})
        assert np.array_equal(loaded.run({"x": x})["y"], x)


@pytest.mark.parametrize(("kernel", "message"), [
    ("y[t + 1] = 1;", "4 bytes after buffer 'y'"),
    ("y[t - 3] = 1;", "12 bytes before buffer 'y'"),
    ("const_cast<float*>(x)[3] = 2; y[t] = 1;", "changed buffer 'x', whose role is input"),
])  # fmt: skip
def test_out_of_bounds_writes_are_reported(kernel: str, message: str) -> None:
    x = np.ones(64, np.float32)
    with pytest.raises(ExecutionError, match=message):
        _run_cuda(kernel, "config.blockDim = 64;", x, x)


def test_reads_out_of_bounds_and_unwritten_outputs_are_nan() -> None:
    x = np.ones(64, np.float32)
    y = _run_cuda("if (t != 9) y[t] = x[t + 1];", "config.blockDim = 64;", x, x)
    assert np.flatnonzero(np.isnan(y)).tolist() == [9, 63]


@pytest.mark.parametrize(("launch", "message"), [
    ("config.blockDim = dim3(64, 32);", "64 x 32 x 1 threads exceeds 1024"),
    ("config.gridDim = dim3(1, 65536);", "65535"),
    ("config.dynamicSmemBytes = 49153;",
     "49153 bytes of dynamic shared memory exceed the limit of 49152"),
    ("config.dynamicSmemBytes = 1000; OPT_IN(k, 232449);", "the device has 232448"),
    ("config.blockDim = 0;", "is 0"),
])  # fmt: skip
def test_launches_over_the_limit_are_refused(launch: str, message: str) -> None:
    x = np.ones(1, np.float32)
    with pytest.raises(ExecutionError, match=message):
        _run_cuda("y[0] = 1;", launch, x, x)


def test_opting_in_allows_more_dynamic_shared_memory() -> None:
    x = np.ones(1, np.float32)
    launch = "OPT_IN(k, 100000); config.dynamicSmemBytes = 100000;"
    assert (
        _run_cuda("extern __shared__ float s[]; s[24999] = x[0]; y[0] = s[24999];", launch, x, x)
        == 1
    )


def test_hip_refuses_2_to_the_32_threads_along_an_axis() -> None:
    text = SOFTMAX.replace("dim3(ROWS), dim3(THREADS)", "dim3(1u << 22), dim3(1024)")
    x = RNG.standard_normal((5, 1000), dtype=np.float32)
    buffers = (buffer("x", x, "input"), buffer("y", x, "output"))
    with pytest.raises(ExecutionError, match=r"2\^32"):
        load("hip", text, "softmax_f32", buffers, 64).run({"x": x})


def test_blocks_and_threads_of_three_axes_all_run_once() -> None:
    kernel = """
  const int i = threadIdx.x + 3 * (threadIdx.y + 4 * threadIdx.z);
  const int b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  y[b * 24 + i] += x[b * 24 + i] + blockDim.z;"""
    x = np.arange(7 * 3 * 2 * 24, dtype=np.float32)
    launch = """config.gridDim = dim3(7, 3, 2); config.blockDim = dim3(3, 4, 2);
  cudaMemsetAsync(y, 0, 4032, stream);"""
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
        buffer("x", x, "input", strides=(1, 8)), buffer("count", count, "state"),
        buffer("y", x, "output", alignment=4), buffer("view", x, "output", alias="y"),
    )  # fmt: skip
    loaded = load("cuda", text, "run", buffers)
    for _ in range(2):
        y = loaded.run({"x": x, "count": count})
        assert np.array_equal(y["y"], 2 * x) and np.array_equal(y["view"], 2 * x)
        assert y["count"].tolist() == [42]


def test_bad_text_arguments_and_orders_are_explained() -> None:
    x = np.ones(4, np.float32)
    buffers = (buffer("x", x, "input"), buffer("y", x, "output"))
    with pytest.raises(CompileError, match=r"kernel.cu.*nonsense") as caught:
        load("cuda", _cuda("nonsense();", ""), "run", buffers)
    assert "nonsense" in caught.value.log
    text = _cuda("y[threadIdx.x] = 1;", "config.blockDim = 4;")
    with pytest.raises(ExecutionError, match="takes 3 arguments, the program has 2"):
        load("cuda", text, "run", buffers[:1]).run({"x": x})
    loaded = load("cuda", text, "run", buffers)
    with pytest.raises(ExecutionError, match="Did you mean 'forward'"):
        loaded.run({"x": x}, "forwards")
    with pytest.raises(ExecutionError, match="no array was given for the input 'x'"):
        loaded.run({})
    with pytest.raises(ExecutionError, match="wants float32"):
        loaded.run({"x": np.ones(5, np.float32)})


def test_a_damaged_cache_entry_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKGEN_CACHE", str(tmp_path))
    x = np.ones(4, np.float32)
    arguments = ("y[threadIdx.x] = 3;", "config.blockDim = 4;", x, x)
    _run_cuda(*arguments)
    (library,) = tmp_path.rglob("kernel.so")
    library.write_bytes(b"not a library")
    assert np.array_equal(_run_cuda(*arguments), x * 3)


@pytest.mark.parametrize("ucontext", [False, True])
def test_other_compilers_and_switches(ucontext: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    gxx = simt_build.on_path("g++")
    if gxx is not None:
        monkeypatch.setattr(simt_build, "find_compiler", lambda: gxx)
    if ucontext:
        monkeypatch.setattr(simt_build, "FLAGS", (*simt_build.FLAGS, "-DMKGEN_SIMT_UCONTEXT=1"))
    test_softmax_of_hip_at_wave_64_in_every_order()


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ("torch", "triton", "jax", "cupy", "dpctl")
    code = f"import sys, mkgen_simt.host; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

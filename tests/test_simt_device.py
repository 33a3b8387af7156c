"""Device functions, vector types and headers of SIMT-on-host, in the ways texts use them."""

from __future__ import annotations

from math import erf
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from simt_programs import buffer, load

from mkgen.errors import ExecutionError

TEXT = """
#include <cuda_runtime.h>
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#include <cstdint>
#include <type_traits>

constexpr int N = 256;
extern __shared__ __align__(16) unsigned char scratch[];
__constant__ float WEIGHTS[4] = {1.0f, 2.0f, 3.0f, 4.0f};

template <class T, int STEP>
__global__ void __launch_bounds__(64, 2) scale_kernel(const T* __restrict__ x, T* __restrict__ y) {
  static_assert(std::is_trivially_copyable<__half>::value, "shared arrays of half need no code");
  float4* rows = reinterpret_cast<float4*>(scratch);
  rows[threadIdx.x] = reinterpret_cast<const float4*>(x)[threadIdx.x];
  __syncthreads();
  const float4 v = rows[threadIdx.x];
  reinterpret_cast<float4*>(y)[threadIdx.x] =
      make_float4(v.x * WEIGHTS[0], v.y * WEIGHTS[1], v.z * WEIGHTS[2], v.w * WEIGHTS[3] * STEP);
}

__device__ __forceinline__ float identity(float v) { return v; }

__global__ void functions_kernel(const float* x, float* y) {
  extern __shared__ half pairs[];
  const int t = blockIdx.x * blockDim.x + threadIdx.x;
  const float v = __ldg(x + t), p = fabsf(v) + 0.5f;
  float* out = y + t;
  out[0] = rsqrtf(p);
  out[N] = __expf(v) + exp10f(v * 0.1f);
  out[2 * N] = __fdividef(v, p) + __frcp_rn(p);
  out[3 * N] = min(v, 0.5f) + max(t, 3) + min(3u, 5u) + fminf(v, NAN) + __saturatef(v);
  out[4 * N] = erff(v) + tanhf(v) + normcdff(v) + sinpif(v) + cospif(v);
  out[5 * N] = __popc(t) + __clz(t) + __ffs(t) + (__brev(t) >> 24) + __umulhi(t << 24, 512);
  out[6 * N] = __int_as_float(__float_as_int(v) ^ static_cast<int>(0x80000000u)) + identity(0.0f);
  const half2 two = __float2half2_rn(2.0f), one = __half2half2(__float2half(1.0f));
  const half2 h = __hfma2(__floats2half2_rn(v, p), two, one);
  pairs[threadIdx.x] = __hadd(__low2half(h), __high2half(h));
  out[7 * N] = __half2float(pairs[threadIdx.x]);
  __nv_bfloat16 b = __float2bfloat16(v);
  b += __nv_bfloat16(1);
  out[8 * N] = __bfloat162float(b) + (b > __nv_bfloat16(0.0f) ? 1.0f : 0.0f);
  const int all = __syncthreads_and(t >= 0), any = __syncthreads_or(threadIdx.x == 3);
  out[9 * N] = all + 2 * any + 4 * __syncthreads_count(threadIdx.x < 9);
}

extern "C" cudaError_t run(const float* x, float* y, float* z, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.gridDim = 1; config.blockDim = 64; config.dynamicSmemBytes = 64 * sizeof(float4);
  config.stream = stream;
  cudaError_t error = cudaLaunchKernelEx(&config, scale_kernel<float, 10>, x, y);
  if (error != cudaSuccess) return error;
  config.gridDim = N / 64; config.dynamicSmemBytes = 64 * sizeof(half);
  return cudaLaunchKernelEx(&config, functions_kernel, x, z);
}
"""


def _expected(x: np.ndarray) -> np.ndarray:
    v, t = x.astype(np.float64), np.arange(256)
    p = np.abs(v) + 0.5
    half = np.float16
    doubled = (x.astype(half) * half(2)).astype(np.float64) + 1  # exact in double
    other = ((np.abs(x) + np.float32(0.5)).astype(half) * half(2)).astype(np.float64) + 1
    brain = ((x.astype(ml_dtypes.bfloat16)) + ml_dtypes.bfloat16(1)).astype(np.float64)
    errors = np.array([erf(e) for e in v])
    normal = np.array([0.5 * (1 + erf(e / 2**0.5)) for e in v])
    bits = [
        i.bit_count() + 32 - i.bit_length() + ((i & -i).bit_length()) + int(f"{i:08b}"[::-1], 2)
        + ((i << 24) * 512 >> 32)
        for i in range(256)
    ]  # fmt: skip
    return np.stack([
        1 / np.sqrt(p), np.exp(v) + 10 ** (v * 0.1), v / p + 1 / p,
        np.minimum(v, 0.5) + np.maximum(t, 3) + 3 + v + np.clip(v, 0, 1),
        errors + np.tanh(v) + normal + np.sin(np.pi * v) + np.cos(np.pi * v),
        np.array(bits), -v, (doubled.astype(half) + other.astype(half)).astype(np.float64),
        brain + (brain > 0), np.full(256, 1 + 2 + 36),
    ])  # fmt: skip


@pytest.mark.parametrize("schedule", ["forward", "random"])
def test_functions_vectors_templates_and_headers(schedule: str) -> None:
    x = np.random.default_rng(3).standard_normal(256, dtype=np.float32)
    z = np.empty((10, 256), np.float32)
    buffers = (buffer("x", x, "input"), buffer("y", x, "output"), buffer("z", z, "output"))
    loaded = load("cuda", TEXT, "run", buffers)
    result = loaded.run({"x": x}, schedule)
    assert np.array_equal(result["y"], x * np.tile([1, 2, 3, 40], 64).astype(np.float32))
    np.testing.assert_allclose(result["z"], _expected(x), rtol=2e-6, atol=2e-6)
    names = [launch[0] for launch in loaded.launches()]
    assert names == ["scale_kernel<float,10>", "functions_kernel"]


HIP = """
#include <hip/hip_runtime.h>
template <class T>
__device__ T first_of_block(T v) {
  __shared__ T kept;
  if (threadIdx.x == 0 && v > 0) kept = v;
  __syncthreads();
  return kept;
}
__global__ void k(const float* x, float* y) {
  const int t = threadIdx.x;
  y[t] = first_of_block(x[t]);
  if (t < 16) y[t] = __shfl_xor(x[t], t < 8 ? 1 : 16);  // lanes 16 and up do not take part
}
extern "C" hipError_t run(const float* x, float* y, hipStream_t stream) {
  hipLaunchKernelGGL(HIP_KERNEL_NAME(k), dim3(1), dim3(64), 0, stream, x, y);
  return hipGetLastError();
}
"""


def test_undefined_values_of_hip_are_nan() -> None:
    x = np.arange(64, dtype=np.float32)  # x[0] is 0: the shared variable is never written
    loaded = load("hip", HIP, "run", (buffer("x", x, "input"), buffer("y", x, "output")), 64)
    y = loaded.run({"x": x})["y"]
    assert y[:8].tolist() == [1, 0, 3, 2, 5, 4, 7, 6]
    assert np.isnan(y[8:]).all()


def test_a_cache_that_cannot_be_written_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MKGEN_CACHE", str(tmp_path / "file"))
    with pytest.raises(ExecutionError, match="set MKGEN_CACHE"):
        load("hip", HIP, "run", ())

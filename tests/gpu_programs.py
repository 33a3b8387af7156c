"""Small CUDA and HIP programs for the toolchain tests."""

from __future__ import annotations

from typing import Literal

from mkgen.program import (
    Buffer,
    BufferRole,
    Launch,
    Program,
    Simt,
    Source,
    Variant,
)
from mkgen.target import Target

SIZES = "constexpr int ROWS = 8, COLS = 1000;\n"

SOFTMAX = """constexpr int THREADS = 256, VALUES = (COLS + THREADS - 1) / THREADS;
constexpr int WAVE = 32, WAVES = THREADS / WAVE;

struct Max { __device__ float operator()(float a, float b) const { return fmaxf(a, b); } };

template <class Combine>
__device__ float reduce_block(float value, Combine combine) {
  __shared__ float partial[WAVES];
  for (int offset = WAVE / 2; offset > 0; offset /= 2)
    value = combine(value, SHUFFLE(value, offset));
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
  highest = reduce_block(highest, Max());
  for (int i = 0; i < VALUES; ++i) {
    logit[i] = expf(logit[i] - highest);
    total += logit[i];
  }
  total = reduce_block(total, [](float a, float b) { return a + b; });
  for (int i = 0; i < VALUES; ++i) {
    const int col = i * THREADS + threadIdx.x;
    if (col < COLS) y[row + col] = logit[i] / total;
  }
}
"""

CUDA_LAUNCHER = """
#ifndef __CUDACC_RTC__
extern "C" cudaError_t softmax_f32(const float* x, float* y, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.gridDim = ROWS, config.blockDim = THREADS, config.stream = stream;
  return cudaLaunchKernelEx(&config, softmax_kernel, x, y);
}
#endif
"""

HIP_LAUNCHER = """
#ifndef __HIPCC_RTC__
extern "C" hipError_t softmax_f32(const float* x, float* y, hipStream_t stream) {
  const hipError_t error = hipFuncSetAttribute(reinterpret_cast<const void*>(softmax_kernel),
                                               hipFuncAttributeMaxDynamicSharedMemorySize, 0);
  if (error != hipSuccess) return error;
  hipLaunchKernelGGL(softmax_kernel, dim3(ROWS), dim3(THREADS), 0, stream, x, y);
  return hipGetLastError();
}
#endif
"""

#: Every thread of 1,024 holds 256 values across a barrier: more than its registers.
SPILLING = """extern "C" __global__ void __launch_bounds__(1024)
softmax_kernel(const float* x, float* y) {
  float value[256];
#pragma unroll
  for (int i = 0; i < 256; ++i) value[i] = x[i * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 256; ++i) y[i * 1024 + threadIdx.x] = value[i] * value[255 - i];
}
"""


def softmax_text(language: str) -> str:
    """Body of the softmax of EXAMPLES, launcher included."""
    if language == "cuda":
        body = SOFTMAX.replace("SHUFFLE(value, offset)", "__shfl_xor_sync(~0u, value, offset)")
        return body + CUDA_LAUNCHER
    return SOFTMAX.replace("SHUFFLE(value, offset)", "__shfl_xor(value, offset)") + HIP_LAUNCHER


def program(target: str, body: str | None = None, preamble: str = "", shared: int = 0) -> Program:
    """A program of one kernel `softmax_kernel(x, y)`; without `body`, the softmax."""
    where = Target.parse(target)
    language: Literal["cuda", "hip"] = "cuda" if where.backend == "cuda" else "hip"
    include = "cuda_runtime.h" if language == "cuda" else "hip/hip_runtime.h"
    name = "softmax.cu" if language == "cuda" else "softmax.hip"
    shape = (8, 1000)
    return Program(
        task="softmax",
        task_hash="0" * 64,
        workload="check",
        target=where,
        sources=(
            Source(
                name=name,
                language=language,
                head="// softmax\n",
                preamble=f"#include <{include}>\n{preamble}",
                sizes=SIZES,
                body=softmax_text(language) if body is None else body,
            ),
        ),
        buffers=(
            Buffer(name="x", dtype="float32", shape=shape, role=BufferRole.INPUT),
            Buffer(name="y", dtype="float32", shape=shape, role=BufferRole.OUTPUT),
        ),
        steps=(
            Launch(
                source=name,
                entry="softmax_kernel",
                args=("x", "y"),
                reads=("x",),
                writes=("y",),
                configuration=Simt(grid=(8, 1, 1), block=(256, 1, 1), dynamic_shared=shared),
            ),
        ),
        variant=Variant(templates=("c/rowwise",), parameters={}, index_bits=32),
        launcher="softmax_f32",
        constants={"ROWS": 8, "COLS": 1000},
    )

#include <cuda_runtime.h>

// Sizes. Everything below follows from them.
constexpr int B = 64, T = 512, D = 768;
// Parameters of this variant.
constexpr int THREADS = 512, ITEMS = 8;

extern "C" __global__ void __launch_bounds__(THREADS)
embedding_kernel(const long long* __restrict__ ids, const float* __restrict__ table,
                 float* __restrict__ y) {
  const int first = blockIdx.x * (THREADS * ITEMS) + threadIdx.x;
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int i = first + part * THREADS;
    if (i < B * T * D) {
      const int b = i / (T * D);
      const int t = (i / D) % T;
      const int d = i % D;
      const int ids_at = ids[b * T + t];
      y[i] = table[ids_at * D + d];
    }
  }
}

#ifndef __CUDACC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" cudaError_t embedding_f32(const long long* ids, const float* table, float* y,
                                     cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.stream = stream;
  config.gridDim = dim3((B * T * D + THREADS * ITEMS - 1) / (THREADS * ITEMS));
  config.blockDim = dim3(THREADS);
  return cudaLaunchKernelEx(&config, embedding_kernel, ids, table, y);
}
#endif

#include <cuda_runtime.h>

// Sizes. Everything below follows from them.
constexpr int ROWS = 4096, COLS = 16384;
// Parameters of this variant.
constexpr int THREADS = 512, ITEMS = 8;

extern "C" __global__ void __launch_bounds__(THREADS)
relu_kernel(const float* __restrict__ x, float* __restrict__ y) {
  const int first = blockIdx.x * (THREADS * ITEMS) + threadIdx.x;
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int i = first + part * THREADS;
    if (i < ROWS * COLS) {
      const float x_value = x[i];
      y[i] = x_value < 0.0f ? 0.0f : x_value;
    }
  }
}

#ifndef __CUDACC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" cudaError_t relu_f32(const float* x, float* y, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.stream = stream;
  config.gridDim = dim3((ROWS * COLS + THREADS * ITEMS - 1) / (THREADS * ITEMS));
  config.blockDim = dim3(THREADS);
  return cudaLaunchKernelEx(&config, relu_kernel, x, y);
}
#endif

#include <cuda_runtime.h>

// Sizes. Everything below follows from them.
constexpr int ROWS = 8192, COLS = 4096;
// Parameters of this variant.
constexpr int THREADS = 512, ITEMS = 8;

extern "C" __global__ void __launch_bounds__(THREADS)
bias_gelu_kernel(const float* __restrict__ x, const float* __restrict__ bias,
                 float* __restrict__ y) {
  const int first = blockIdx.x * (THREADS * ITEMS) + threadIdx.x;
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int i = first + part * THREADS;
    if (i < ROWS * COLS) {
      const int col = i % COLS;
      const float add = x[i] + bias[col];
      y[i] = 0.5f * add * (1.0f + erff(add * 0.70710677f));
    }
  }
}

#ifndef __CUDACC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" cudaError_t bias_gelu_f32(const float* x, const float* bias, float* y,
                                     cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.stream = stream;
  config.gridDim = dim3((ROWS * COLS + THREADS * ITEMS - 1) / (THREADS * ITEMS));
  config.blockDim = dim3(THREADS);
  return cudaLaunchKernelEx(&config, bias_gelu_kernel, x, bias, y);
}
#endif

#include <cuda_runtime.h>

// Sizes. Everything below follows from them.
constexpr int SIZE = 33554432;
// Parameters of this variant.
constexpr int THREADS = 512, ITEMS = 8;

extern "C" __global__ void __launch_bounds__(THREADS)
adam_kernel(const float* __restrict__ parameter, const float* __restrict__ gradient,
            const float* __restrict__ mean, const float* __restrict__ square,
            float* __restrict__ y2, float* __restrict__ y3, float* __restrict__ y1) {
  const int first = blockIdx.x * (THREADS * ITEMS) + threadIdx.x;
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int size = first + part * THREADS;
    if (size < SIZE) {
      const float mean_value = mean[size];
      const float gradient_value = gradient[size];
      const float lerp = mean_value + 0.1f * (gradient_value - mean_value);
      const float add = square[size] * 0.999f + gradient_value * 0.001f * gradient_value;
      const float div = lerp / 0.65132153f;
      const float mul_3 = div * 0.001f;
      const float div_1 = add / 0.009955119f;
      const float sqrt = sqrtf(div_1);
      const float add_1 = sqrt + 1e-08f;
      const float div_2 = mul_3 / add_1;
      y2[size] = lerp;
      y3[size] = add;
      y1[size] = parameter[size] - div_2;
    }
  }
}

#ifndef __CUDACC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" cudaError_t adam_f32(const float* parameter, const float* gradient, const float* mean,
                                const float* square, float* y1, float* y2, float* y3,
                                cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.stream = stream;
  config.gridDim = dim3((SIZE + THREADS * ITEMS - 1) / (THREADS * ITEMS));
  config.blockDim = dim3(THREADS);
  return cudaLaunchKernelEx(&config, adam_kernel, parameter, gradient, mean, square, y2, y3, y1);
}
#endif

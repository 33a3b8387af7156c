#include <hip/hip_runtime.h>

// Sizes. Everything below follows from them.
constexpr int SIZE = 33554432;
// Parameters of this variant.
constexpr int LERP_THREADS = 512, LERP_ITEMS = 8;
constexpr int ADD_THREADS = 512, ADD_ITEMS = 8;
constexpr int SUB_THREADS = 512, SUB_ITEMS = 2;

extern "C" __global__ void __launch_bounds__(LERP_THREADS)
lerp_kernel(const float* __restrict__ gradient, const float* __restrict__ mean,
            float* __restrict__ y2) {
  const int first = blockIdx.x * (LERP_THREADS * LERP_ITEMS) + threadIdx.x;
#pragma unroll
  for (int part = 0; part < LERP_ITEMS; ++part) {
    const int size = first + part * LERP_THREADS;
    if (size < SIZE) {
      const float mean_value = mean[size];
      y2[size] = mean_value + 0.1f * (gradient[size] - mean_value);
    }
  }
}

extern "C" __global__ void __launch_bounds__(ADD_THREADS)
add_kernel(const float* __restrict__ gradient, const float* __restrict__ square,
           float* __restrict__ y3) {
  const int first = blockIdx.x * (ADD_THREADS * ADD_ITEMS) + threadIdx.x;
#pragma unroll
  for (int part = 0; part < ADD_ITEMS; ++part) {
    const int size = first + part * ADD_THREADS;
    if (size < SIZE) {
      const float gradient_value = gradient[size];
      y3[size] = square[size] * 0.999f + gradient_value * 0.001f * gradient_value;
    }
  }
}

extern "C" __global__ void __launch_bounds__(SUB_THREADS)
sub_kernel(const float* __restrict__ parameter, const float* __restrict__ gradient,
           const float* __restrict__ mean, const float* __restrict__ square,
           float* __restrict__ y1) {
  const int first = blockIdx.x * (SUB_THREADS * SUB_ITEMS) + threadIdx.x;
#pragma unroll
  for (int part = 0; part < SUB_ITEMS; ++part) {
    const int size = first + part * SUB_THREADS;
    if (size < SIZE) {
      const float mean_value = mean[size];
      const float gradient_value = gradient[size];
      const float lerp = mean_value + 0.1f * (gradient_value - mean_value);
      const float div = lerp / 0.65132153f;
      const float mul_3 = div * 0.001f;
      const float add = square[size] * 0.999f + gradient_value * 0.001f * gradient_value;
      const float div_1 = add / 0.009955119f;
      const float sqrt = sqrtf(div_1);
      const float add_1 = sqrt + 1e-08f;
      const float div_2 = mul_3 / add_1;
      y1[size] = parameter[size] - div_2;
    }
  }
}

#ifndef __HIPCC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" hipError_t adam_f32(const float* parameter, const float* gradient, const float* mean,
                               const float* square, float* y1, float* y2, float* y3,
                               hipStream_t stream) {
  hipLaunchKernelGGL(lerp_kernel,
                     dim3((SIZE + LERP_THREADS * LERP_ITEMS - 1) / (LERP_THREADS * LERP_ITEMS)),
                     dim3(LERP_THREADS), 0, stream, gradient, mean, y2);
  hipLaunchKernelGGL(add_kernel,
                     dim3((SIZE + ADD_THREADS * ADD_ITEMS - 1) / (ADD_THREADS * ADD_ITEMS)),
                     dim3(ADD_THREADS), 0, stream, gradient, square, y3);
  hipLaunchKernelGGL(sub_kernel,
                     dim3((SIZE + SUB_THREADS * SUB_ITEMS - 1) / (SUB_THREADS * SUB_ITEMS)),
                     dim3(SUB_THREADS), 0, stream, parameter, gradient, mean, square, y1);
  return hipGetLastError();
}
#endif

#include <hip/hip_runtime.h>

// Sizes. Everything below follows from them.
constexpr int ROWS = 8192, COLS = 8192;
// Parameters of this variant.
constexpr int THREADS = 512;

constexpr int LANES = 64;

// The sum of `value` over the work-group; every thread gets it.
__device__ float workgroup_sum(float value, float* scratch) {
  const int thread = threadIdx.x;
  for (int mask = LANES / 2; mask > 0; mask /= 2) {
    const float other = __shfl_xor(value, mask);
    value = value + other;
  }
  if (thread % LANES == 0) scratch[thread / LANES] = value;
  __syncthreads();
  value = scratch[0];
  for (int wave = 1; wave < THREADS / LANES; ++wave)
    value = value + scratch[wave];
  __syncthreads();  // scratch may be written again
  return value;
}

extern "C" __global__ void __launch_bounds__(THREADS)
sum_reduce_kernel(const float* __restrict__ x, float* __restrict__ y) {
  __shared__ float scratch[THREADS / LANES];
  const int thread = threadIdx.x;
  const int row = blockIdx.x;

  float total = 0.0f;
  for (int col = thread; col < COLS; col += THREADS) {
    total += x[row * COLS + col];
  }

  total = workgroup_sum(total, scratch);

  if (thread == 0) {
    y[row] = total;
  }
}

#ifndef __HIPCC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" hipError_t sum_reduce_f32(const float* x, float* y, hipStream_t stream) {
  hipLaunchKernelGGL(sum_reduce_kernel, dim3(ROWS), dim3(THREADS), 0, stream, x, y);
  return hipGetLastError();
}
#endif

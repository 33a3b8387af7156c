#include <cuda_runtime.h>

// Sizes. Everything below follows from them.
constexpr int ROWS = 4096, COLS = 32768;
// Parameters of this variant.
constexpr int THREADS = 128, ITEMS = 4;

constexpr int LANES = 32;

// The sum of the values of all threads before this one; `total` gets that of all.
__device__ float scan_sum(float value, float* total, float* scratch) {
  const int thread = threadIdx.x;
  float before = 0.0f;
  for (int mask = 1; mask < LANES; mask *= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, value, mask);
    if (thread & mask) before = before + other;
    value = value + other;
  }
  if (thread % LANES == 0) scratch[thread / LANES] = value;
  __syncthreads();
  float so_far = 0.0f, front = so_far;
  for (int wave = 0; wave < THREADS / LANES; ++wave) {
    if (wave == thread / LANES) front = so_far;
    so_far = so_far + scratch[wave];
  }
  before = front + before;
  *total = so_far;
  __syncthreads();  // scratch may be written again
  return before;
}

extern "C" __global__ void __launch_bounds__(THREADS)
cumsum_kernel(const float* __restrict__ x, float* __restrict__ y) {
  __shared__ float scratch[THREADS / LANES];
  const int thread = threadIdx.x;
  const int row = blockIdx.x;

  float carry = 0.0f;  // of the stretches before
  for (int first = 0; first < COLS; first += THREADS * ITEMS) {
    float running[ITEMS], own = 0.0f, stretch;
#pragma unroll
    for (int part = 0; part < ITEMS; ++part) {
      const int col = first + thread * ITEMS + part;
      if (col < COLS) {
        own += x[row * COLS + col];
      }
      running[part] = own;
    }
    const float before = scan_sum(own, &stretch, scratch);
    const float ahead = carry + before;
#pragma unroll
    for (int part = 0; part < ITEMS; ++part) {
      const int col = first + thread * ITEMS + part;
      if (col < COLS) {
        const float total = ahead + running[part];
        y[row * COLS + col] = total;
      }
    }
    carry = carry + stretch;
  }
}

#ifndef __CUDACC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" cudaError_t cumsum_f32(const float* x, float* y, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.stream = stream;
  config.gridDim = dim3(ROWS);
  config.blockDim = dim3(THREADS);
  return cudaLaunchKernelEx(&config, cumsum_kernel, x, y);
}
#endif

#include <cuda_runtime.h>

// Sizes. Everything below follows from them.
constexpr int ROWS = 4096, COLS = 4096;
// Parameters of this variant.
constexpr int THREADS = 256;

// The larger of two; NaN wins, as in PyTorch.
__device__ float maximum(float a, float b) { return b > a || b != b ? b : a; }

constexpr int LANES = 32;

constexpr int VALUES = (COLS + THREADS - 1) / THREADS;  // columns of a thread

// The largest of `value` over the work-group; every thread gets it.
__device__ float workgroup_max(float value, float* scratch) {
  const int thread = threadIdx.x;
  for (int mask = LANES / 2; mask > 0; mask /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, value, mask);
    value = maximum(value, other);
  }
  if (thread % LANES == 0) scratch[thread / LANES] = value;
  __syncthreads();
  value = scratch[0];
  for (int wave = 1; wave < THREADS / LANES; ++wave)
    value = maximum(value, scratch[wave]);
  __syncthreads();  // scratch may be written again
  return value;
}

// The sum of `value` over the work-group; every thread gets it.
__device__ float workgroup_sum(float value, float* scratch) {
  const int thread = threadIdx.x;
  for (int mask = LANES / 2; mask > 0; mask /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, value, mask);
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
softmax_kernel(const float* __restrict__ x, float* __restrict__ y) {
  __shared__ float scratch[THREADS / LANES];
  const int thread = threadIdx.x;
  const int row = blockIdx.x;

  float x_value[VALUES];
  float weight[VALUES];

  float highest = -INFINITY;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      x_value[part] = x[row * COLS + col];
      highest = maximum(highest, x_value[part]);
    }
  }

  highest = workgroup_max(highest, scratch);

  float total = 0.0f;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      weight[part] = expf(x_value[part] - highest);
      total += weight[part];
    }
  }

  total = workgroup_sum(total, scratch);

#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      y[row * COLS + col] = weight[part] / total;
    }
  }
}

#ifndef __CUDACC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" cudaError_t softmax_f32(const float* x, float* y, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.stream = stream;
  config.gridDim = dim3(ROWS);
  config.blockDim = dim3(THREADS);
  return cudaLaunchKernelEx(&config, softmax_kernel, x, y);
}
#endif

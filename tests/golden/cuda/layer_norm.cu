#include <cuda_runtime.h>

// Sizes. Everything below follows from them.
constexpr int ROWS = 8192, COLS = 4096;
// Parameters of this variant.
constexpr int THREADS = 256;

constexpr int LANES = 32;

constexpr int VALUES = (COLS + THREADS - 1) / THREADS;  // columns of a thread

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
layer_norm_kernel(const float* __restrict__ x, const float* __restrict__ weight,
                  const float* __restrict__ bias, float* __restrict__ y) {
  __shared__ float scratch[THREADS / LANES];
  const int thread = threadIdx.x;
  const int row = blockIdx.x;

  float x_value[VALUES];
  float centered[VALUES];

  float total = 0.0f;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      x_value[part] = x[row * COLS + col];
      total += x_value[part];
    }
  }

  total = workgroup_sum(total, scratch);
  const float mean = total / (float)COLS;

  float squares = 0.0f;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      centered[part] = x_value[part] - mean;
      squares += centered[part] * centered[part];
    }
  }

  squares = workgroup_sum(squares, scratch);
  const float inverse_deviation = rsqrtf(squares / (float)COLS + 1e-05f);

#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      y[row * COLS + col] = centered[part] * inverse_deviation * weight[col] + bias[col];
    }
  }
}

#ifndef __CUDACC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" cudaError_t layer_norm_f32(const float* x, const float* weight, const float* bias,
                                      float* y, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.stream = stream;
  config.gridDim = dim3(ROWS);
  config.blockDim = dim3(THREADS);
  return cudaLaunchKernelEx(&config, layer_norm_kernel, x, weight, bias, y);
}
#endif

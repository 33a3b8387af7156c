#include <cuda_runtime.h>

// Sizes. Everything below follows from them.
constexpr int BATCH = 16384, CLASSES = 8192;
// Parameters of this variant.
constexpr int HIGHEST_THREADS = 1024;
constexpr int CROSS_ENTROPY_THREADS = 64;

// The larger of two; NaN wins, as in PyTorch.
__device__ float maximum(float a, float b) { return b > a || b != b ? b : a; }

constexpr int LANES = 32;

// Columns of a thread.
constexpr int HIGHEST_VALUES = (CLASSES + HIGHEST_THREADS - 1) / HIGHEST_THREADS;

// The largest of `value` over the work-group; every thread gets it.
__device__ float workgroup_max_by_lanes(float value, float* scratch, int threads) {
  const int thread = threadIdx.x;
  for (int mask = LANES / 2; mask > 0; mask /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, value, mask);
    value = maximum(value, other);
  }
  if (thread % LANES == 0) scratch[thread / LANES] = value;
  __syncthreads();
  value = scratch[0];
  for (int wave = 1; wave < threads / LANES; ++wave)
    value = maximum(value, scratch[wave]);
  __syncthreads();  // scratch may be written again
  return value;
}

// The sum of `value` over the work-group; every thread gets it.
__device__ float workgroup_sum_by_lanes(float value, float* scratch, int threads) {
  const int thread = threadIdx.x;
  for (int mask = LANES / 2; mask > 0; mask /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, value, mask);
    value = value + other;
  }
  if (thread % LANES == 0) scratch[thread / LANES] = value;
  __syncthreads();
  value = scratch[0];
  for (int wave = 1; wave < threads / LANES; ++wave)
    value = value + scratch[wave];
  __syncthreads();  // scratch may be written again
  return value;
}

extern "C" __global__ void __launch_bounds__(HIGHEST_THREADS)
highest_kernel(const float* __restrict__ logits, float* __restrict__ total,
               float* __restrict__ highest) {
  __shared__ float scratch[HIGHEST_THREADS / LANES];
  const int thread = threadIdx.x;
  const int batch = blockIdx.x;

  float logits_value[HIGHEST_VALUES];

  float highest2 = -INFINITY;
#pragma unroll
  for (int part = 0; part < HIGHEST_VALUES; ++part) {
    const int classe = part * HIGHEST_THREADS + thread;
    if (classe < CLASSES) {
      logits_value[part] = logits[batch * CLASSES + classe];
      highest2 = maximum(highest2, logits_value[part]);
    }
  }

  highest2 = workgroup_max_by_lanes(highest2, scratch, HIGHEST_THREADS);

  float total2 = 0.0f;
#pragma unroll
  for (int part = 0; part < HIGHEST_VALUES; ++part) {
    const int classe = part * HIGHEST_THREADS + thread;
    if (classe < CLASSES) {
      total2 += expf(logits_value[part] - highest2);
    }
  }

  total2 = workgroup_sum_by_lanes(total2, scratch, HIGHEST_THREADS);

  if (thread == 0) {
    total[batch] = total2;
    highest[batch] = highest2;
  }
}

extern "C" __global__ void __launch_bounds__(CROSS_ENTROPY_THREADS)
cross_entropy_kernel(const float* __restrict__ logits, const long long* __restrict__ label,
                     const float* __restrict__ total, const float* __restrict__ highest,
                     float* __restrict__ y) {
  __shared__ float scratch[CROSS_ENTROPY_THREADS / LANES];
  const int thread = threadIdx.x;
  const int row = blockIdx.x;

  float total2 = 0.0f;
  for (int batch = thread; batch < BATCH; batch += CROSS_ENTROPY_THREADS) {
    const long long label_value = label[batch];
    const int position = label_value != -100 ? label_value : 0;
    total2 += label_value != -100
              ? logf(total[batch]) + (highest[batch] - logits[batch * CLASSES + position])
              : 0.0f;
  }

  total2 = workgroup_sum_by_lanes(total2, scratch, CROSS_ENTROPY_THREADS);

  float total_weight = 0.0f;
  for (int batch = thread; batch < BATCH; batch += CROSS_ENTROPY_THREADS) {
    total_weight += label[batch] != -100 ? 1.0f : 0.0f;
  }

  total_weight = workgroup_sum_by_lanes(total_weight, scratch, CROSS_ENTROPY_THREADS);
  const float cross_entropy_loss = total2 / total_weight;

  if (thread == 0) {
    y[0] = cross_entropy_loss;
  }
}

#ifndef __CUDACC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" cudaError_t cross_entropy_f32(const float* logits, const long long* label, float* y,
                                         float* highest, float* total, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.stream = stream;
  cudaError_t status;
  config.gridDim = dim3(BATCH);
  config.blockDim = dim3(HIGHEST_THREADS);
  status = cudaLaunchKernelEx(&config, highest_kernel, logits, total, highest);
  if (status != cudaSuccess) return status;
  config.gridDim = dim3(1);
  config.blockDim = dim3(CROSS_ENTROPY_THREADS);
  return cudaLaunchKernelEx(&config, cross_entropy_kernel, logits, label, total, highest, y);
}
#endif

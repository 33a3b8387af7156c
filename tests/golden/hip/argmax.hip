#include <hip/hip_runtime.h>

// Sizes. Everything below follows from them.
constexpr int ROWS = 8192, COLS = 8192;
// Parameters of this variant.
constexpr int THREADS = 512;

// The larger of two; NaN wins, as in PyTorch.
__device__ float maximum(float a, float b) { return b > a || b != b ? b : a; }

constexpr int LANES = 64;

constexpr int VALUES = (COLS + THREADS - 1) / THREADS;  // columns of a thread

// The largest of `value` over the work-group; every thread gets it.
__device__ float workgroup_max(float value, float* scratch) {
  const int thread = threadIdx.x;
  for (int mask = LANES / 2; mask > 0; mask /= 2) {
    const float other = __shfl_xor(value, mask);
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

// The smallest of `value` over the work-group; every thread gets it.
__device__ int workgroup_min_int32(int value, int* scratch) {
  const int thread = threadIdx.x;
  for (int mask = LANES / 2; mask > 0; mask /= 2) {
    const int other = __shfl_xor(value, mask);
    value = other < value ? other : value;
  }
  if (thread % LANES == 0) scratch[thread / LANES] = value;
  __syncthreads();
  value = scratch[0];
  for (int wave = 1; wave < THREADS / LANES; ++wave)
    value = scratch[wave] < value ? scratch[wave] : value;
  __syncthreads();  // scratch may be written again
  return value;
}

extern "C" __global__ void __launch_bounds__(THREADS)
argmax_kernel(const float* __restrict__ x, long long* __restrict__ y) {
  __shared__ float scratch[THREADS / LANES];
  __shared__ int scratch_int32[THREADS / LANES];
  const int thread = threadIdx.x;
  const int row = blockIdx.x;

  float x_value[VALUES];

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

  int position = 2147483647;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      const int candidate = x_value[part] == highest || isnan(x_value[part]) ? col : COLS;
      position = candidate < position ? candidate : position;
    }
  }

  position = workgroup_min_int32(position, scratch_int32);
  const long long argmax = (long long)position;

  if (thread == 0) {
    y[row] = argmax;
  }
}

#ifndef __HIPCC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" hipError_t argmax_f32(const float* x, long long* y, hipStream_t stream) {
  hipLaunchKernelGGL(argmax_kernel, dim3(ROWS), dim3(THREADS), 0, stream, x, y);
  return hipGetLastError();
}
#endif

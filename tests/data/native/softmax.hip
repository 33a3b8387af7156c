// SPDX-License-Identifier: Apache-2.0
/* mkgen
task = "softmax"
backend = "hip"
[[launch]]
entry = "softmax_kernel"
args = ["x", "y"]
grid = ["ROWS"]
block = [256]
sub_group = 64
*/
#include <hip/hip_runtime.h>

constexpr int THREADS = 256, LANES = 64, WAVES = THREADS / LANES;

struct Max { __device__ float operator()(float a, float b) const { return fmaxf(a, b); } };
struct Sum { __device__ float operator()(float a, float b) const { return a + b; } };

// Combines `value` over the workgroup; every thread gets the result.
template <class Combine>
__device__ float combine_workgroup(float value, Combine combine) {
  __shared__ float partial[WAVES];
  for (int offset = LANES / 2; offset > 0; offset /= 2)
    value = combine(value, __shfl_xor(value, offset));
  __syncthreads();  // the previous reduction may still be reading `partial`
  if (threadIdx.x % LANES == 0) partial[threadIdx.x / LANES] = value;
  __syncthreads();
  value = partial[0];
  for (int wave = 1; wave < WAVES; ++wave) value = combine(value, partial[wave]);
  return value;
}

// One workgroup a row: the maximum, the sum of exponentials, then every weight.
extern "C" __global__ void __launch_bounds__(THREADS)
softmax_kernel(const float* __restrict__ x, float* __restrict__ y) {
  const size_t row = size_t(blockIdx.x) * COLS;
  float highest = -INFINITY, total = 0.0f;
  for (int col = threadIdx.x; col < COLS; col += THREADS) highest = fmaxf(highest, x[row + col]);
  highest = combine_workgroup(highest, Max());
  for (int col = threadIdx.x; col < COLS; col += THREADS) total += expf(x[row + col] - highest);
  total = combine_workgroup(total, Sum());
  for (int col = threadIdx.x; col < COLS; col += THREADS)
    y[row + col] = expf(x[row + col] - highest) / total;
}

// SPDX-License-Identifier: Apache-2.0
/* mkgen
task = "softmax"
backend = "cuda"
[[launch]]
entry = "softmax_kernel"
args = ["x", "y"]
grid = ["ROWS"]
block = [256]
sub_group = 32
*/
#include <cuda_runtime.h>

constexpr int THREADS = 256, LANES = 32, WARPS = THREADS / LANES;

struct Max { __device__ float operator()(float a, float b) const { return fmaxf(a, b); } };
struct Sum { __device__ float operator()(float a, float b) const { return a + b; } };

// Combines `value` over the block; every thread gets the result.
template <class Combine>
__device__ float combine_block(float value, Combine combine) {
  __shared__ float partial[WARPS];
  for (int offset = LANES / 2; offset > 0; offset /= 2)
    value = combine(value, __shfl_xor_sync(0xffffffffu, value, offset));
  __syncthreads();  // the previous reduction may still be reading `partial`
  if (threadIdx.x % LANES == 0) partial[threadIdx.x / LANES] = value;
  __syncthreads();
  value = partial[0];
  for (int warp = 1; warp < WARPS; ++warp) value = combine(value, partial[warp]);
  return value;
}

// One block a row: the maximum, the sum of exponentials, then every weight.
extern "C" __global__ void __launch_bounds__(THREADS)
softmax_kernel(const float* __restrict__ x, float* __restrict__ y) {
  const size_t row = size_t(blockIdx.x) * COLS;
  float highest = -INFINITY, total = 0.0f;
  for (int col = threadIdx.x; col < COLS; col += THREADS) highest = fmaxf(highest, x[row + col]);
  highest = combine_block(highest, Max());
  for (int col = threadIdx.x; col < COLS; col += THREADS) total += expf(x[row + col] - highest);
  total = combine_block(total, Sum());
  for (int col = threadIdx.x; col < COLS; col += THREADS)
    y[row + col] = expf(x[row + col] - highest) / total;
}

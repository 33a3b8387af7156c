// SPDX-License-Identifier: Apache-2.0
/* mkgen
task = "matmul"
backend = "cuda"
[[launch]]
entry = "matmul_kernel"
args = ["a", "b", "y"]
grid = ["ceil_div(N, 32)", "ceil_div(M, 32)"]
block = [32, 8]
shared = "2 * 32 * 33 * 4"
*/
#include <cuda_runtime.h>

constexpr int TILE = 32, PITCH = TILE + 1, ROWS_OF_A_THREAD = 4;

// y = a b: a block makes a tile of y, a thread four rows of one column of it.
extern "C" __global__ void __launch_bounds__(TILE * TILE / ROWS_OF_A_THREAD)
matmul_kernel(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ y) {
  extern __shared__ float tiles[];
  float *left = tiles, *right = tiles + TILE * PITCH;
  const int col = blockIdx.x * TILE + threadIdx.x, first = blockIdx.y * TILE + threadIdx.y;
  float sum[ROWS_OF_A_THREAD] = {};
  for (int start = 0; start < K; start += TILE) {
    for (int row = threadIdx.y; row < TILE; row += blockDim.y) {
      const int m = blockIdx.y * TILE + row, k = start + row;
      const bool in_a = m < M && start + threadIdx.x < K, in_b = k < K && col < N;
      left[row * PITCH + threadIdx.x] = in_a ? a[size_t(m) * K + start + threadIdx.x] : 0.0f;
      right[row * PITCH + threadIdx.x] = in_b ? b[size_t(k) * N + col] : 0.0f;
    }
    __syncthreads();
    for (int k = 0; k < TILE; ++k)
      for (int i = 0; i < ROWS_OF_A_THREAD; ++i)
        sum[i] += left[(threadIdx.y + i * 8) * PITCH + k] * right[k * PITCH + threadIdx.x];
    __syncthreads();
  }
  for (int i = 0; i < ROWS_OF_A_THREAD; ++i)
    if (first + i * 8 < M && col < N) y[size_t(first + i * 8) * N + col] = sum[i];
}

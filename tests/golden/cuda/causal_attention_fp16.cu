#include <cuda_runtime.h>
#include <cuda_fp16.h>

// Sizes. Everything below follows from them.
constexpr int B = 4, H = 16, T = 1024, D = 64;
// Parameters of this variant.
constexpr int SCORES_TILE_M = 128, SCORES_TILE_N = 128, SCORES_TILE_K = 32;
constexpr int SCORES_ITEM_M = 8, SCORES_ITEM_N = 8;
constexpr int WEIGHTS_THREADS = 64;
constexpr int ATTENTION_TILE_M = 128, ATTENTION_TILE_N = 64, ATTENTION_TILE_K = 32;
constexpr int ATTENTION_ITEM_M = 4, ATTENTION_ITEM_N = 4;

// The larger of two; NaN wins, as in PyTorch.
__device__ float maximum(float a, float b) { return b > a || b != b ? b : a; }

constexpr int SCORES_THREADS_M = SCORES_TILE_M / SCORES_ITEM_M;
constexpr int SCORES_THREADS_N = SCORES_TILE_N / SCORES_ITEM_N;
constexpr int SCORES_THREADS = SCORES_THREADS_M * SCORES_THREADS_N;

// A product of matrices: t walks the rows, tt the columns, the sum runs over d.
extern "C" __global__ void __launch_bounds__(SCORES_THREADS)
scores_kernel(const __half* __restrict__ q, const __half* __restrict__ k,
              float* __restrict__ scores) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __shared__ float q_tile[SCORES_TILE_K][SCORES_TILE_M + 1];
  __shared__ float k_tile[SCORES_TILE_K][SCORES_TILE_N + 1];
  const int thread = threadIdx.x;
  const int col_first = blockIdx.x * SCORES_TILE_N, row_first = blockIdx.y * SCORES_TILE_M;
  const int batch = blockIdx.z;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / SCORES_THREADS_N, my_col = thread % SCORES_THREADS_N;
  float sum[SCORES_ITEM_M][SCORES_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < D; depth_first += SCORES_TILE_K) {
    for (int e = thread; e < SCORES_TILE_M * SCORES_TILE_K; e += SCORES_THREADS) {
      const int line = e / SCORES_TILE_K, step = e % SCORES_TILE_K;
      const int t = row_first + line, d = depth_first + step;
      float value = 0.0f;
      if (t < T && d < D) {
        value = __half2float(q[(batch * T + t) * D + d]);
      }
      q_tile[step][line] = value;
    }

    for (int e = thread; e < SCORES_TILE_N * SCORES_TILE_K; e += SCORES_THREADS) {
      const int line = e / SCORES_TILE_K, step = e % SCORES_TILE_K;
      const int tt = col_first + line, d = depth_first + step;
      float value = 0.0f;
      if (tt < T && d < D) {
        value = __half2float(k[(batch * T + tt) * D + d]);
      }
      k_tile[step][line] = value;
    }

    __syncthreads();

#pragma unroll
    for (int step = 0; step < SCORES_TILE_K; ++step) {
      float q_part[SCORES_ITEM_M], k_part[SCORES_ITEM_N];
      for (int i = 0; i < SCORES_ITEM_M; ++i)
        q_part[i] = q_tile[step][i * SCORES_THREADS_M + my_row];
      for (int j = 0; j < SCORES_ITEM_N; ++j)
        k_part[j] = k_tile[step][j * SCORES_THREADS_N + my_col];
      for (int i = 0; i < SCORES_ITEM_M; ++i)
        for (int j = 0; j < SCORES_ITEM_N; ++j) sum[i][j] += q_part[i] * k_part[j];
    }
    __syncthreads();  // the tiles are filled again
  }

  for (int i = 0; i < SCORES_ITEM_M; ++i)
    for (int j = 0; j < SCORES_ITEM_N; ++j) {
      const int t = row_first + i * SCORES_THREADS_M + my_row;
      const int tt = col_first + j * SCORES_THREADS_N + my_col;
      if (t < T && tt < T) {
        scores[(batch * T + t) * T + tt] = sum[i][j];
      }
    }
}

constexpr int LANES = 32;

constexpr int WEIGHTS_VALUES = (T + WEIGHTS_THREADS - 1) / WEIGHTS_THREADS;  // columns of a thread

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

extern "C" __global__ void __launch_bounds__(WEIGHTS_THREADS)
weights_kernel(const float* __restrict__ scores, float* __restrict__ weights) {
  __shared__ float scratch[WEIGHTS_THREADS / LANES];
  const int thread = threadIdx.x;
  const int row = blockIdx.x;
  const int t = row % T;
  float masked[WEIGHTS_VALUES];
  float weight[WEIGHTS_VALUES];

  float highest = -INFINITY;
#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      masked[part] = tt <= t ? scores[row * T + tt] * rsqrtf((float)D) : -INFINITY;
      highest = maximum(highest, masked[part]);
    }
  }

  highest = workgroup_max_by_lanes(highest, scratch, WEIGHTS_THREADS);

  float total = 0.0f;
#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      weight[part] = expf(masked[part] - highest);
      total += weight[part];
    }
  }

  total = workgroup_sum_by_lanes(total, scratch, WEIGHTS_THREADS);

#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      weights[row * T + tt] = weight[part] / total;
    }
  }
}

constexpr int ATTENTION_THREADS_M = ATTENTION_TILE_M / ATTENTION_ITEM_M;
constexpr int ATTENTION_THREADS_N = ATTENTION_TILE_N / ATTENTION_ITEM_N;
constexpr int ATTENTION_THREADS = ATTENTION_THREADS_M * ATTENTION_THREADS_N;

// A product of matrices: t walks the rows, d the columns, the sum runs over tt.
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS)
attention_kernel(const __half* __restrict__ v, const float* __restrict__ weights,
                 __half* __restrict__ y) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __shared__ float weights_tile[ATTENTION_TILE_K][ATTENTION_TILE_M + 1];
  __shared__ float v_tile[ATTENTION_TILE_K][ATTENTION_TILE_N + 1];
  const int thread = threadIdx.x;
  const int col_first = blockIdx.x * ATTENTION_TILE_N, row_first = blockIdx.y * ATTENTION_TILE_M;
  const int batch = blockIdx.z;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / ATTENTION_THREADS_N, my_col = thread % ATTENTION_THREADS_N;
  float sum[ATTENTION_ITEM_M][ATTENTION_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < T; depth_first += ATTENTION_TILE_K) {
    for (int e = thread; e < ATTENTION_TILE_M * ATTENTION_TILE_K; e += ATTENTION_THREADS) {
      const int line = e / ATTENTION_TILE_K, step = e % ATTENTION_TILE_K;
      const int t = row_first + line, tt = depth_first + step;
      float value = 0.0f;
      if (t < T && tt < T) {
        value = weights[(batch * T + t) * T + tt];
      }
      weights_tile[step][line] = value;
    }

    for (int e = thread; e < ATTENTION_TILE_N * ATTENTION_TILE_K; e += ATTENTION_THREADS) {
      const int line = e % ATTENTION_TILE_N, step = e / ATTENTION_TILE_N;
      const int d = col_first + line, tt = depth_first + step;
      float value = 0.0f;
      if (d < D && tt < T) {
        value = __half2float(v[(batch * T + tt) * D + d]);
      }
      v_tile[step][line] = value;
    }

    __syncthreads();

#pragma unroll
    for (int step = 0; step < ATTENTION_TILE_K; ++step) {
      float weights_part[ATTENTION_ITEM_M], v_part[ATTENTION_ITEM_N];
      for (int i = 0; i < ATTENTION_ITEM_M; ++i)
        weights_part[i] = weights_tile[step][i * ATTENTION_THREADS_M + my_row];
      for (int j = 0; j < ATTENTION_ITEM_N; ++j)
        v_part[j] = v_tile[step][j * ATTENTION_THREADS_N + my_col];
      for (int i = 0; i < ATTENTION_ITEM_M; ++i)
        for (int j = 0; j < ATTENTION_ITEM_N; ++j) sum[i][j] += weights_part[i] * v_part[j];
    }
    __syncthreads();  // the tiles are filled again
  }

  for (int i = 0; i < ATTENTION_ITEM_M; ++i)
    for (int j = 0; j < ATTENTION_ITEM_N; ++j) {
      const int t = row_first + i * ATTENTION_THREADS_M + my_row;
      const int d = col_first + j * ATTENTION_THREADS_N + my_col;
      if (t < T && d < D) {
        y[(batch * T + t) * D + d] = __float2half(sum[i][j]);
      }
    }
}

#ifndef __CUDACC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" cudaError_t causal_attention_fp16_f16(const __half* q, const __half* k, const __half* v,
                                                 __half* y, float* scores, float* weights,
                                                 cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.stream = stream;
  cudaError_t status;
  config.gridDim = dim3((T + SCORES_TILE_N - 1) / SCORES_TILE_N,
                        (T + SCORES_TILE_M - 1) / SCORES_TILE_M, B * H);
  config.blockDim = dim3((SCORES_TILE_M / SCORES_ITEM_M) * (SCORES_TILE_N / SCORES_ITEM_N));
  status = cudaLaunchKernelEx(&config, scores_kernel, q, k, scores);
  if (status != cudaSuccess) return status;
  config.gridDim = dim3(B * H * T);
  config.blockDim = dim3(WEIGHTS_THREADS);
  status = cudaLaunchKernelEx(&config, weights_kernel, scores, weights);
  if (status != cudaSuccess) return status;
  config.gridDim = dim3((D + ATTENTION_TILE_N - 1) / ATTENTION_TILE_N,
                        (T + ATTENTION_TILE_M - 1) / ATTENTION_TILE_M, B * H);
  config.blockDim = dim3((ATTENTION_TILE_M / ATTENTION_ITEM_M)
                         * (ATTENTION_TILE_N / ATTENTION_ITEM_N));
  return cudaLaunchKernelEx(&config, attention_kernel, v, weights, y);
}
#endif

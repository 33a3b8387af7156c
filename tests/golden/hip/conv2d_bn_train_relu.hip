#include <hip/hip_runtime.h>

// Sizes. Everything below follows from them.
constexpr int N = 32, C = 64, K = 128, H = 56, W = 56, PAD_H = 1, PAD_W = 1, P = 56, Q = 56;
// Parameters of this variant.
constexpr int CONV2D_TILE_M = 128, CONV2D_TILE_N = 128, CONV2D_TILE_K = 32;
constexpr int CONV2D_ITEM_M = 4, CONV2D_ITEM_N = 8;
constexpr int RELU_THREADS = 512;
constexpr int BATCH_COUNT_THREADS = 128, BATCH_COUNT_ITEMS = 1;

constexpr int CONV2D_THREADS_M = CONV2D_TILE_M / CONV2D_ITEM_M;
constexpr int CONV2D_THREADS_N = CONV2D_TILE_N / CONV2D_ITEM_N;
constexpr int CONV2D_THREADS = CONV2D_THREADS_M * CONV2D_THREADS_N;

// A product of matrices: k walks the rows, (n, p, q) the columns, the sum runs over (c, r, s).
extern "C" __global__ void __launch_bounds__(CONV2D_THREADS)
conv2d_kernel(const float* __restrict__ conv_weight, const float* __restrict__ x,
              float* __restrict__ conv2d) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __shared__ float conv_weight_tile[CONV2D_TILE_K][CONV2D_TILE_M + 1];
  __shared__ float x_tile[CONV2D_TILE_K][CONV2D_TILE_N + 1];
  const int thread = threadIdx.x;
  const int col_first = blockIdx.x * CONV2D_TILE_N, row_first = blockIdx.y * CONV2D_TILE_M;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / CONV2D_THREADS_N, my_col = thread % CONV2D_THREADS_N;
  float sum[CONV2D_ITEM_M][CONV2D_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < C * 3 * 3; depth_first += CONV2D_TILE_K) {
    for (int e = thread; e < CONV2D_TILE_M * CONV2D_TILE_K; e += CONV2D_THREADS) {
      const int line = e / CONV2D_TILE_K, step = e % CONV2D_TILE_K;
      const int k = row_first + line, depth = depth_first + step;
      float value = 0.0f;
      if (k < K && depth < C * 3 * 3) {
        value = conv_weight[k * C * 3 * 3 + depth];
      }
      conv_weight_tile[step][line] = value;
    }

    for (int e = thread; e < CONV2D_TILE_N * CONV2D_TILE_K; e += CONV2D_THREADS) {
      const int line = e % CONV2D_TILE_N, step = e / CONV2D_TILE_N;
      const int col = col_first + line, depth = depth_first + step;
      float value = 0.0f;
      if (col < N * P * Q && depth < C * 3 * 3) {
        const int n = col / (P * Q);
        const int p = (col / Q) % P;
        const int q = col % Q;
        const int c = depth / 9;
        const int r = (depth / 3) % 3;
        const int s = depth % 3;
        const int h = p + r - PAD_H;
        const int w = q + s - PAD_W;
        const bool inside = 0 <= h && h < H && 0 <= w && w < W;
        value = inside ? x[((n * C + c) * H + h) * W + w] : 0.0f;
      }
      x_tile[step][line] = value;
    }

    __syncthreads();

#pragma unroll
    for (int step = 0; step < CONV2D_TILE_K; ++step) {
      float conv_weight_part[CONV2D_ITEM_M], x_part[CONV2D_ITEM_N];
      for (int i = 0; i < CONV2D_ITEM_M; ++i)
        conv_weight_part[i] = conv_weight_tile[step][i * CONV2D_THREADS_M + my_row];
      for (int j = 0; j < CONV2D_ITEM_N; ++j)
        x_part[j] = x_tile[step][j * CONV2D_THREADS_N + my_col];
      for (int i = 0; i < CONV2D_ITEM_M; ++i)
        for (int j = 0; j < CONV2D_ITEM_N; ++j) sum[i][j] += conv_weight_part[i] * x_part[j];
    }
    __syncthreads();  // the tiles are filled again
  }

  for (int i = 0; i < CONV2D_ITEM_M; ++i)
    for (int j = 0; j < CONV2D_ITEM_N; ++j) {
      const int k = row_first + i * CONV2D_THREADS_M + my_row;
      const int col = col_first + j * CONV2D_THREADS_N + my_col;
      if (k < K && col < N * P * Q) {
        const int n = col / (P * Q);
        const int p = (col / Q) % P;
        const int q = col % Q;
        conv2d[((n * K + k) * P + p) * Q + q] = sum[i][j];
      }
    }
}

constexpr int LANES = 64;

// The sum of `value` over the work-group; every thread gets it.
__device__ float workgroup_sum_by_lanes(float value, float* scratch, int threads) {
  const int thread = threadIdx.x;
  for (int mask = LANES / 2; mask > 0; mask /= 2) {
    const float other = __shfl_xor(value, mask);
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

extern "C" __global__ void __launch_bounds__(RELU_THREADS)
relu_kernel(const float* __restrict__ conv_bias, const float* __restrict__ norm_weight,
            const float* __restrict__ norm_bias, float* __restrict__ norm_running_mean,
            float* __restrict__ norm_running_var, const float* __restrict__ conv2d,
            float* __restrict__ y) {
  __shared__ float scratch[RELU_THREADS / LANES];
  const int thread = threadIdx.x;
  const int k = blockIdx.x;

  float total = 0.0f;
  for (int col = thread; col < N * P * Q; col += RELU_THREADS) {
    const int n = col / (P * Q);
    const int i = col % (P * Q);
    total += conv2d[(n * K + k) * P * Q + i] + conv_bias[k];
  }

  total = workgroup_sum_by_lanes(total, scratch, RELU_THREADS);
  const float mean = total / (float)(N * P * Q);

  float squares = 0.0f;
  for (int col = thread; col < N * P * Q; col += RELU_THREADS) {
    const int n = col / (P * Q);
    const int i = col % (P * Q);
    const float centered = conv2d[(n * K + k) * P * Q + i] + conv_bias[k] - mean;
    squares += centered * centered;
  }

  squares = workgroup_sum_by_lanes(squares, scratch, RELU_THREADS);
  const float inverse_deviation = rsqrtf(squares / (float)(N * P * Q) + 1e-05f);

  for (int col = thread; col < N * P * Q; col += RELU_THREADS) {
    const int n = col / (P * Q);
    const int i = col % (P * Q);
    const float centered = conv2d[(n * K + k) * P * Q + i] + conv_bias[k] - mean;
    const float batch_norm = centered * inverse_deviation * norm_weight[k] + norm_bias[k];
    y[(n * K + k) * P * Q + i] = batch_norm < 0.0f ? 0.0f : batch_norm;
  }

  if (thread == 0) {
    norm_running_mean[k] = 0.9f * norm_running_mean[k] + 0.1f * mean;
    norm_running_var[k] = 0.9f * norm_running_var[k] + 0.1f * (squares / (float)(N * P * Q - 1));
  }
}

extern "C" __global__ void __launch_bounds__(BATCH_COUNT_THREADS)
batch_count_kernel(long long* __restrict__ norm_num_batches_tracked) {
  const int first = blockIdx.x * (BATCH_COUNT_THREADS * BATCH_COUNT_ITEMS) + threadIdx.x;
#pragma unroll
  for (int part = 0; part < BATCH_COUNT_ITEMS; ++part) {
    const int i = first + part * BATCH_COUNT_THREADS;
    if (i < 1) {
      norm_num_batches_tracked[0] = norm_num_batches_tracked[0] + 1;
    }
  }
}

#ifndef __HIPCC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" hipError_t conv2d_bn_train_relu_f32(const float* conv_weight, const float* conv_bias,
                                               const float* norm_weight, const float* norm_bias,
                                               float* norm_running_mean, float* norm_running_var,
                                               long long* norm_num_batches_tracked, const float* x,
                                               float* y, float* conv2d, hipStream_t stream) {
  hipLaunchKernelGGL(conv2d_kernel,
                     dim3((N * P * Q + CONV2D_TILE_N - 1) / CONV2D_TILE_N,
                          (K + CONV2D_TILE_M - 1) / CONV2D_TILE_M),
                     dim3((CONV2D_TILE_M / CONV2D_ITEM_M) * (CONV2D_TILE_N / CONV2D_ITEM_N)), 0,
                     stream, conv_weight, x, conv2d);
  hipLaunchKernelGGL(relu_kernel, dim3(K), dim3(RELU_THREADS), 0, stream, conv_bias, norm_weight,
                     norm_bias, norm_running_mean, norm_running_var, conv2d, y);
  hipLaunchKernelGGL(batch_count_kernel, dim3(1), dim3(BATCH_COUNT_THREADS), 0, stream,
                     norm_num_batches_tracked);
  return hipGetLastError();
}
#endif

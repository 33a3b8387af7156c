#include <cuda_runtime.h>

// Sizes. Everything below follows from them.
constexpr int B = 8, T = 1024, D = 768, HEADS = 12;
// Parameters of this variant.
constexpr int LAYER_NORM_THREADS = 64;
constexpr int LINEAR_TILE_M = 64, LINEAR_TILE_N = 128, LINEAR_TILE_K = 32, LINEAR_ITEM_M = 4;
constexpr int LINEAR_ITEM_N = 4;
constexpr int SCORES_TILE_M = 64, SCORES_TILE_N = 64, SCORES_TILE_K = 16, SCORES_ITEM_M = 4;
constexpr int SCORES_ITEM_N = 8;
constexpr int WEIGHTS_THREADS = 64;
constexpr int ATTENTION_TILE_M = 64, ATTENTION_TILE_N = 32, ATTENTION_TILE_K = 16;
constexpr int ATTENTION_ITEM_M = 4, ATTENTION_ITEM_N = 4;
constexpr int LINEAR_1_TILE_M = 64, LINEAR_1_TILE_N = 64, LINEAR_1_TILE_K = 32;
constexpr int LINEAR_1_ITEM_M = 4, LINEAR_1_ITEM_N = 8;
constexpr int LAYER_NORM_1_THREADS = 64;
constexpr int LINEAR_2_TILE_M = 64, LINEAR_2_TILE_N = 128, LINEAR_2_TILE_K = 32;
constexpr int LINEAR_2_ITEM_M = 4, LINEAR_2_ITEM_N = 8;
constexpr int LINEAR_3_TILE_M = 64, LINEAR_3_TILE_N = 64, LINEAR_3_TILE_K = 32;
constexpr int LINEAR_3_ITEM_M = 4, LINEAR_3_ITEM_N = 8;

// The larger of two; NaN wins, as in PyTorch.
__device__ float maximum(float a, float b) { return b > a || b != b ? b : a; }

constexpr int LANES = 32;

// Columns of a thread.
constexpr int LAYER_NORM_VALUES = (D + LAYER_NORM_THREADS - 1) / LAYER_NORM_THREADS;

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

extern "C" __global__ void __launch_bounds__(LAYER_NORM_THREADS)
layer_norm_kernel(const float* __restrict__ norm1_weight, const float* __restrict__ norm1_bias,
                  const float* __restrict__ x, float* __restrict__ layer_norm) {
  __shared__ float scratch[LAYER_NORM_THREADS / LANES];
  const int thread = threadIdx.x;
  const int i = blockIdx.x;

  float x_value[LAYER_NORM_VALUES];
  float centered[LAYER_NORM_VALUES];

  float total = 0.0f;
#pragma unroll
  for (int part = 0; part < LAYER_NORM_VALUES; ++part) {
    const int d = part * LAYER_NORM_THREADS + thread;
    if (d < D) {
      x_value[part] = x[i * D + d];
      total += x_value[part];
    }
  }

  total = workgroup_sum_by_lanes(total, scratch, LAYER_NORM_THREADS);
  const float mean = total / (float)D;

  float squares = 0.0f;
#pragma unroll
  for (int part = 0; part < LAYER_NORM_VALUES; ++part) {
    const int d = part * LAYER_NORM_THREADS + thread;
    if (d < D) {
      centered[part] = x_value[part] - mean;
      squares += centered[part] * centered[part];
    }
  }

  squares = workgroup_sum_by_lanes(squares, scratch, LAYER_NORM_THREADS);
  const float inverse_deviation = rsqrtf(squares / (float)D + 1e-05f);

#pragma unroll
  for (int part = 0; part < LAYER_NORM_VALUES; ++part) {
    const int d = part * LAYER_NORM_THREADS + thread;
    if (d < D) {
      layer_norm[i * D + d] = centered[part] * inverse_deviation * norm1_weight[d] + norm1_bias[d];
    }
  }
}

constexpr int LINEAR_THREADS_M = LINEAR_TILE_M / LINEAR_ITEM_M;
constexpr int LINEAR_THREADS_N = LINEAR_TILE_N / LINEAR_ITEM_N;
constexpr int LINEAR_THREADS = LINEAR_THREADS_M * LINEAR_THREADS_N;

// A product of matrices: (b, t) walks the rows, i2 the columns, the sum runs over d.
extern "C" __global__ void __launch_bounds__(LINEAR_THREADS)
linear_kernel(const float* __restrict__ qkv_weight, const float* __restrict__ qkv_bias,
              const float* __restrict__ layer_norm, float* __restrict__ linear_bias) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __shared__ float layer_norm_tile[LINEAR_TILE_K][LINEAR_TILE_M + 1];
  __shared__ float qkv_weight_tile[LINEAR_TILE_K][LINEAR_TILE_N + 1];
  const int thread = threadIdx.x;
  const int col_first = blockIdx.x * LINEAR_TILE_N, row_first = blockIdx.y * LINEAR_TILE_M;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / LINEAR_THREADS_N, my_col = thread % LINEAR_THREADS_N;
  float sum[LINEAR_ITEM_M][LINEAR_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < D; depth_first += LINEAR_TILE_K) {
    for (int e = thread; e < LINEAR_TILE_M * LINEAR_TILE_K; e += LINEAR_THREADS) {
      const int line = e / LINEAR_TILE_K, step = e % LINEAR_TILE_K;
      const int row = row_first + line, d = depth_first + step;
      float value = 0.0f;
      if (row < B * T && d < D) {
        value = layer_norm[row * D + d];
      }
      layer_norm_tile[step][line] = value;
    }

    for (int e = thread; e < LINEAR_TILE_N * LINEAR_TILE_K; e += LINEAR_THREADS) {
      const int line = e / LINEAR_TILE_K, step = e % LINEAR_TILE_K;
      const int i2 = col_first + line, d = depth_first + step;
      float value = 0.0f;
      if (i2 < 3 * D && d < D) {
        value = qkv_weight[i2 * D + d];
      }
      qkv_weight_tile[step][line] = value;
    }

    __syncthreads();

#pragma unroll
    for (int step = 0; step < LINEAR_TILE_K; ++step) {
      float layer_norm_part[LINEAR_ITEM_M], qkv_weight_part[LINEAR_ITEM_N];
      for (int i = 0; i < LINEAR_ITEM_M; ++i)
        layer_norm_part[i] = layer_norm_tile[step][i * LINEAR_THREADS_M + my_row];
      for (int j = 0; j < LINEAR_ITEM_N; ++j)
        qkv_weight_part[j] = qkv_weight_tile[step][j * LINEAR_THREADS_N + my_col];
      for (int i = 0; i < LINEAR_ITEM_M; ++i)
        for (int j = 0; j < LINEAR_ITEM_N; ++j)
          sum[i][j] += layer_norm_part[i] * qkv_weight_part[j];
    }
    __syncthreads();  // the tiles are filled again
  }

  for (int i = 0; i < LINEAR_ITEM_M; ++i)
    for (int j = 0; j < LINEAR_ITEM_N; ++j) {
      const int row = row_first + i * LINEAR_THREADS_M + my_row;
      const int i2 = col_first + j * LINEAR_THREADS_N + my_col;
      if (row < B * T && i2 < 3 * D) {
        linear_bias[row * 3 * D + i2] = sum[i][j] + qkv_bias[i2];
      }
    }
}

constexpr int SCORES_THREADS_M = SCORES_TILE_M / SCORES_ITEM_M;
constexpr int SCORES_THREADS_N = SCORES_TILE_N / SCORES_ITEM_N;
constexpr int SCORES_THREADS = SCORES_THREADS_M * SCORES_THREADS_N;

// A product of matrices: t walks the rows, tt the columns, the sum runs over i0.
extern "C" __global__ void __launch_bounds__(SCORES_THREADS)
scores_kernel(const float* __restrict__ linear_bias, float* __restrict__ scores) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __shared__ float linear_bias_rows_tile[SCORES_TILE_K][SCORES_TILE_M + 1];
  __shared__ float linear_bias_cols_tile[SCORES_TILE_K][SCORES_TILE_N + 1];
  const int thread = threadIdx.x;
  const int col_first = blockIdx.x * SCORES_TILE_N, row_first = blockIdx.y * SCORES_TILE_M;
  const int batch = blockIdx.z;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / SCORES_THREADS_N, my_col = thread % SCORES_THREADS_N;
  float sum[SCORES_ITEM_M][SCORES_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < D / HEADS; depth_first += SCORES_TILE_K) {
    for (int e = thread; e < SCORES_TILE_M * SCORES_TILE_K; e += SCORES_THREADS) {
      const int line = e / SCORES_TILE_K, step = e % SCORES_TILE_K;
      const int t = row_first + line, i0 = depth_first + step;
      float value = 0.0f;
      if (t < T && i0 < D / HEADS) {
        const int b = batch / HEADS;
        const int head = batch % HEADS;
        value = linear_bias[(b * T + t) * 3 * D + head * (D / HEADS) + i0];
      }
      linear_bias_rows_tile[step][line] = value;
    }

    for (int e = thread; e < SCORES_TILE_N * SCORES_TILE_K; e += SCORES_THREADS) {
      const int line = e / SCORES_TILE_K, step = e % SCORES_TILE_K;
      const int tt = col_first + line, i0 = depth_first + step;
      float value = 0.0f;
      if (tt < T && i0 < D / HEADS) {
        const int b = batch / HEADS;
        const int head = batch % HEADS;
        value = linear_bias[(b * T + tt) * 3 * D + head * (D / HEADS) + i0 + D];
      }
      linear_bias_cols_tile[step][line] = value;
    }

    __syncthreads();

#pragma unroll
    for (int step = 0; step < SCORES_TILE_K; ++step) {
      float linear_bias_rows_part[SCORES_ITEM_M], linear_bias_cols_part[SCORES_ITEM_N];
      for (int i = 0; i < SCORES_ITEM_M; ++i)
        linear_bias_rows_part[i] = linear_bias_rows_tile[step][i * SCORES_THREADS_M + my_row];
      for (int j = 0; j < SCORES_ITEM_N; ++j)
        linear_bias_cols_part[j] = linear_bias_cols_tile[step][j * SCORES_THREADS_N + my_col];
      for (int i = 0; i < SCORES_ITEM_M; ++i)
        for (int j = 0; j < SCORES_ITEM_N; ++j)
          sum[i][j] += linear_bias_rows_part[i] * linear_bias_cols_part[j];
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
      masked[part] = tt <= t ? scores[row * T + tt] * rsqrtf((float)(D / HEADS)) : -INFINITY;
      highest = maximum(highest, masked[part]);
    }
  }

  highest = workgroup_max_by_lanes(highest, scratch, WEIGHTS_THREADS);

  float total2 = 0.0f;
#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      weight[part] = expf(masked[part] - highest);
      total2 += weight[part];
    }
  }

  total2 = workgroup_sum_by_lanes(total2, scratch, WEIGHTS_THREADS);

#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      weights[row * T + tt] = weight[part] / total2;
    }
  }
}

constexpr int ATTENTION_THREADS_M = ATTENTION_TILE_M / ATTENTION_ITEM_M;
constexpr int ATTENTION_THREADS_N = ATTENTION_TILE_N / ATTENTION_ITEM_N;
constexpr int ATTENTION_THREADS = ATTENTION_THREADS_M * ATTENTION_THREADS_N;

// A product of matrices: t walks the rows, i3 the columns, the sum runs over tt.
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS)
attention_kernel(const float* __restrict__ weights, const float* __restrict__ linear_bias,
                 float* __restrict__ scaled_dot_product_attention) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __shared__ float weights_tile[ATTENTION_TILE_K][ATTENTION_TILE_M + 1];
  __shared__ float linear_bias_tile[ATTENTION_TILE_K][ATTENTION_TILE_N + 1];
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
      const int i3 = col_first + line, tt = depth_first + step;
      float value = 0.0f;
      if (i3 < D / HEADS && tt < T) {
        const int b = batch / HEADS;
        const int head = batch % HEADS;
        value = linear_bias[(b * T + tt) * 3 * D + head * (D / HEADS) + i3 + 2 * D];
      }
      linear_bias_tile[step][line] = value;
    }

    __syncthreads();

#pragma unroll
    for (int step = 0; step < ATTENTION_TILE_K; ++step) {
      float weights_part[ATTENTION_ITEM_M], linear_bias_part[ATTENTION_ITEM_N];
      for (int i = 0; i < ATTENTION_ITEM_M; ++i)
        weights_part[i] = weights_tile[step][i * ATTENTION_THREADS_M + my_row];
      for (int j = 0; j < ATTENTION_ITEM_N; ++j)
        linear_bias_part[j] = linear_bias_tile[step][j * ATTENTION_THREADS_N + my_col];
      for (int i = 0; i < ATTENTION_ITEM_M; ++i)
        for (int j = 0; j < ATTENTION_ITEM_N; ++j)
          sum[i][j] += weights_part[i] * linear_bias_part[j];
    }
    __syncthreads();  // the tiles are filled again
  }

  for (int i = 0; i < ATTENTION_ITEM_M; ++i)
    for (int j = 0; j < ATTENTION_ITEM_N; ++j) {
      const int t = row_first + i * ATTENTION_THREADS_M + my_row;
      const int i3 = col_first + j * ATTENTION_THREADS_N + my_col;
      if (t < T && i3 < D / HEADS) {
        scaled_dot_product_attention[(batch * T + t) * (D / HEADS) + i3] = sum[i][j];
      }
    }
}

constexpr int LINEAR_1_THREADS_M = LINEAR_1_TILE_M / LINEAR_1_ITEM_M;
constexpr int LINEAR_1_THREADS_N = LINEAR_1_TILE_N / LINEAR_1_ITEM_N;
constexpr int LINEAR_1_THREADS = LINEAR_1_THREADS_M * LINEAR_1_THREADS_N;

// A product of matrices: (b, t) walks the rows, d the columns, the sum runs over dd.
extern "C" __global__ void __launch_bounds__(LINEAR_1_THREADS)
linear_1_kernel(const float* __restrict__ project_weight,
                const float* __restrict__ scaled_dot_product_attention,
                float* __restrict__ linear_1) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __shared__ float scaled_dot_product_attention_tile[LINEAR_1_TILE_K][LINEAR_1_TILE_M + 1];
  __shared__ float project_weight_tile[LINEAR_1_TILE_K][LINEAR_1_TILE_N + 1];
  const int thread = threadIdx.x;
  const int col_first = blockIdx.x * LINEAR_1_TILE_N, row_first = blockIdx.y * LINEAR_1_TILE_M;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / LINEAR_1_THREADS_N, my_col = thread % LINEAR_1_THREADS_N;
  float sum[LINEAR_1_ITEM_M][LINEAR_1_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < D; depth_first += LINEAR_1_TILE_K) {
    for (int e = thread; e < LINEAR_1_TILE_M * LINEAR_1_TILE_K; e += LINEAR_1_THREADS) {
      const int line = e / LINEAR_1_TILE_K, step = e % LINEAR_1_TILE_K;
      const int row = row_first + line, dd = depth_first + step;
      float value = 0.0f;
      if (row < B * T && dd < D) {
        const int b = row / T;
        const int t = row % T;
        value = scaled_dot_product_attention[((b * HEADS + dd / (D / HEADS)) * T + t)
                                             * (D / HEADS)
                                             + dd % (D / HEADS)];
      }
      scaled_dot_product_attention_tile[step][line] = value;
    }

    for (int e = thread; e < LINEAR_1_TILE_N * LINEAR_1_TILE_K; e += LINEAR_1_THREADS) {
      const int line = e / LINEAR_1_TILE_K, step = e % LINEAR_1_TILE_K;
      const int d = col_first + line, dd = depth_first + step;
      float value = 0.0f;
      if (d < D && dd < D) {
        value = project_weight[d * D + dd];
      }
      project_weight_tile[step][line] = value;
    }

    __syncthreads();

#pragma unroll
    for (int step = 0; step < LINEAR_1_TILE_K; ++step) {
      float scaled_dot_product_attention_part[LINEAR_1_ITEM_M],
            project_weight_part[LINEAR_1_ITEM_N];
      for (int i = 0; i < LINEAR_1_ITEM_M; ++i)
        scaled_dot_product_attention_part[i] =
            scaled_dot_product_attention_tile[step][i * LINEAR_1_THREADS_M + my_row];
      for (int j = 0; j < LINEAR_1_ITEM_N; ++j)
        project_weight_part[j] = project_weight_tile[step][j * LINEAR_1_THREADS_N + my_col];
      for (int i = 0; i < LINEAR_1_ITEM_M; ++i)
        for (int j = 0; j < LINEAR_1_ITEM_N; ++j)
          sum[i][j] += scaled_dot_product_attention_part[i] * project_weight_part[j];
    }
    __syncthreads();  // the tiles are filled again
  }

  for (int i = 0; i < LINEAR_1_ITEM_M; ++i)
    for (int j = 0; j < LINEAR_1_ITEM_N; ++j) {
      const int row = row_first + i * LINEAR_1_THREADS_M + my_row;
      const int d = col_first + j * LINEAR_1_THREADS_N + my_col;
      if (row < B * T && d < D) {
        linear_1[row * D + d] = sum[i][j];
      }
    }
}

// Columns of a thread.
constexpr int LAYER_NORM_1_VALUES = (D + LAYER_NORM_1_THREADS - 1) / LAYER_NORM_1_THREADS;

extern "C" __global__ void __launch_bounds__(LAYER_NORM_1_THREADS)
layer_norm_1_kernel(const float* __restrict__ project_bias,
                    const float* __restrict__ norm2_weight, const float* __restrict__ norm2_bias,
                    const float* __restrict__ x, const float* __restrict__ linear_1,
                    float* __restrict__ layer_norm_1) {
  __shared__ float scratch[LAYER_NORM_1_THREADS / LANES];
  const int thread = threadIdx.x;
  const int i = blockIdx.x;

  float add[LAYER_NORM_1_VALUES];
  float centered[LAYER_NORM_1_VALUES];

  float total3 = 0.0f;
#pragma unroll
  for (int part = 0; part < LAYER_NORM_1_VALUES; ++part) {
    const int d = part * LAYER_NORM_1_THREADS + thread;
    if (d < D) {
      add[part] = x[i * D + d] + (linear_1[i * D + d] + project_bias[d]);
      total3 += add[part];
    }
  }

  total3 = workgroup_sum_by_lanes(total3, scratch, LAYER_NORM_1_THREADS);
  const float mean = total3 / (float)D;

  float squares2 = 0.0f;
#pragma unroll
  for (int part = 0; part < LAYER_NORM_1_VALUES; ++part) {
    const int d = part * LAYER_NORM_1_THREADS + thread;
    if (d < D) {
      centered[part] = add[part] - mean;
      squares2 += centered[part] * centered[part];
    }
  }

  squares2 = workgroup_sum_by_lanes(squares2, scratch, LAYER_NORM_1_THREADS);
  const float inverse_deviation = rsqrtf(squares2 / (float)D + 1e-05f);

#pragma unroll
  for (int part = 0; part < LAYER_NORM_1_VALUES; ++part) {
    const int d = part * LAYER_NORM_1_THREADS + thread;
    if (d < D) {
      layer_norm_1[i * D + d] = centered[part] * inverse_deviation * norm2_weight[d]
                                + norm2_bias[d];
    }
  }
}

constexpr int LINEAR_2_THREADS_M = LINEAR_2_TILE_M / LINEAR_2_ITEM_M;
constexpr int LINEAR_2_THREADS_N = LINEAR_2_TILE_N / LINEAR_2_ITEM_N;
constexpr int LINEAR_2_THREADS = LINEAR_2_THREADS_M * LINEAR_2_THREADS_N;

// A product of matrices: (b, t) walks the rows, i2 the columns, the sum runs over d.
extern "C" __global__ void __launch_bounds__(LINEAR_2_THREADS)
linear_2_kernel(const float* __restrict__ wide_weight, const float* __restrict__ wide_bias,
                const float* __restrict__ layer_norm_1, float* __restrict__ gelu) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __shared__ float layer_norm_1_tile[LINEAR_2_TILE_K][LINEAR_2_TILE_M + 1];
  __shared__ float wide_weight_tile[LINEAR_2_TILE_K][LINEAR_2_TILE_N + 1];
  const int thread = threadIdx.x;
  const int col_first = blockIdx.x * LINEAR_2_TILE_N, row_first = blockIdx.y * LINEAR_2_TILE_M;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / LINEAR_2_THREADS_N, my_col = thread % LINEAR_2_THREADS_N;
  float sum[LINEAR_2_ITEM_M][LINEAR_2_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < D; depth_first += LINEAR_2_TILE_K) {
    for (int e = thread; e < LINEAR_2_TILE_M * LINEAR_2_TILE_K; e += LINEAR_2_THREADS) {
      const int line = e / LINEAR_2_TILE_K, step = e % LINEAR_2_TILE_K;
      const int row = row_first + line, d = depth_first + step;
      float value = 0.0f;
      if (row < B * T && d < D) {
        value = layer_norm_1[row * D + d];
      }
      layer_norm_1_tile[step][line] = value;
    }

    for (int e = thread; e < LINEAR_2_TILE_N * LINEAR_2_TILE_K; e += LINEAR_2_THREADS) {
      const int line = e / LINEAR_2_TILE_K, step = e % LINEAR_2_TILE_K;
      const int i2 = col_first + line, d = depth_first + step;
      float value = 0.0f;
      if (i2 < 4 * D && d < D) {
        value = wide_weight[i2 * D + d];
      }
      wide_weight_tile[step][line] = value;
    }

    __syncthreads();

#pragma unroll
    for (int step = 0; step < LINEAR_2_TILE_K; ++step) {
      float layer_norm_1_part[LINEAR_2_ITEM_M], wide_weight_part[LINEAR_2_ITEM_N];
      for (int i = 0; i < LINEAR_2_ITEM_M; ++i)
        layer_norm_1_part[i] = layer_norm_1_tile[step][i * LINEAR_2_THREADS_M + my_row];
      for (int j = 0; j < LINEAR_2_ITEM_N; ++j)
        wide_weight_part[j] = wide_weight_tile[step][j * LINEAR_2_THREADS_N + my_col];
      for (int i = 0; i < LINEAR_2_ITEM_M; ++i)
        for (int j = 0; j < LINEAR_2_ITEM_N; ++j)
          sum[i][j] += layer_norm_1_part[i] * wide_weight_part[j];
    }
    __syncthreads();  // the tiles are filled again
  }

  for (int i = 0; i < LINEAR_2_ITEM_M; ++i)
    for (int j = 0; j < LINEAR_2_ITEM_N; ++j) {
      const int row = row_first + i * LINEAR_2_THREADS_M + my_row;
      const int i2 = col_first + j * LINEAR_2_THREADS_N + my_col;
      if (row < B * T && i2 < 4 * D) {
        const float linear_2_bias = sum[i][j] + wide_bias[i2];
        gelu[row * 4 * D + i2] = 0.5f * linear_2_bias * (1.0f + erff(linear_2_bias * 0.70710677f));
      }
    }
}

constexpr int LINEAR_3_THREADS_M = LINEAR_3_TILE_M / LINEAR_3_ITEM_M;
constexpr int LINEAR_3_THREADS_N = LINEAR_3_TILE_N / LINEAR_3_ITEM_N;
constexpr int LINEAR_3_THREADS = LINEAR_3_THREADS_M * LINEAR_3_THREADS_N;

// A product of matrices: (b, t) walks the rows, d the columns, the sum runs over i0.
extern "C" __global__ void __launch_bounds__(LINEAR_3_THREADS)
linear_3_kernel(const float* __restrict__ project_bias, const float* __restrict__ narrow_weight,
                const float* __restrict__ narrow_bias, const float* __restrict__ x,
                const float* __restrict__ gelu, const float* __restrict__ linear_1,
                float* __restrict__ y) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __shared__ float gelu_tile[LINEAR_3_TILE_K][LINEAR_3_TILE_M + 1];
  __shared__ float narrow_weight_tile[LINEAR_3_TILE_K][LINEAR_3_TILE_N + 1];
  const int thread = threadIdx.x;
  const int col_first = blockIdx.x * LINEAR_3_TILE_N, row_first = blockIdx.y * LINEAR_3_TILE_M;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / LINEAR_3_THREADS_N, my_col = thread % LINEAR_3_THREADS_N;
  float sum[LINEAR_3_ITEM_M][LINEAR_3_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < 4 * D; depth_first += LINEAR_3_TILE_K) {
    for (int e = thread; e < LINEAR_3_TILE_M * LINEAR_3_TILE_K; e += LINEAR_3_THREADS) {
      const int line = e / LINEAR_3_TILE_K, step = e % LINEAR_3_TILE_K;
      const int row = row_first + line, i0 = depth_first + step;
      float value = 0.0f;
      if (row < B * T && i0 < 4 * D) {
        value = gelu[row * 4 * D + i0];
      }
      gelu_tile[step][line] = value;
    }

    for (int e = thread; e < LINEAR_3_TILE_N * LINEAR_3_TILE_K; e += LINEAR_3_THREADS) {
      const int line = e / LINEAR_3_TILE_K, step = e % LINEAR_3_TILE_K;
      const int d = col_first + line, i0 = depth_first + step;
      float value = 0.0f;
      if (d < D && i0 < 4 * D) {
        value = narrow_weight[d * 4 * D + i0];
      }
      narrow_weight_tile[step][line] = value;
    }

    __syncthreads();

#pragma unroll
    for (int step = 0; step < LINEAR_3_TILE_K; ++step) {
      float gelu_part[LINEAR_3_ITEM_M], narrow_weight_part[LINEAR_3_ITEM_N];
      for (int i = 0; i < LINEAR_3_ITEM_M; ++i)
        gelu_part[i] = gelu_tile[step][i * LINEAR_3_THREADS_M + my_row];
      for (int j = 0; j < LINEAR_3_ITEM_N; ++j)
        narrow_weight_part[j] = narrow_weight_tile[step][j * LINEAR_3_THREADS_N + my_col];
      for (int i = 0; i < LINEAR_3_ITEM_M; ++i)
        for (int j = 0; j < LINEAR_3_ITEM_N; ++j) sum[i][j] += gelu_part[i] * narrow_weight_part[j];
    }
    __syncthreads();  // the tiles are filled again
  }

  for (int i = 0; i < LINEAR_3_ITEM_M; ++i)
    for (int j = 0; j < LINEAR_3_ITEM_N; ++j) {
      const int row = row_first + i * LINEAR_3_THREADS_M + my_row;
      const int d = col_first + j * LINEAR_3_THREADS_N + my_col;
      if (row < B * T && d < D) {
        y[row * D + d] = x[row * D + d] + (linear_1[row * D + d] + project_bias[d])
                         + (sum[i][j] + narrow_bias[d]);
      }
    }
}

#ifndef __CUDACC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" cudaError_t transformer_block_f32(const float* norm1_weight, const float* norm1_bias,
                                             const float* qkv_weight, const float* qkv_bias,
                                             const float* project_weight, const float* project_bias,
                                             const float* norm2_weight, const float* norm2_bias,
                                             const float* wide_weight, const float* wide_bias,
                                             const float* narrow_weight, const float* narrow_bias,
                                             const float* x, float* y, float* layer_norm,
                                             float* linear_bias, float* scores, float* weights,
                                             float* scaled_dot_product_attention, float* linear_1,
                                             float* layer_norm_1, float* gelu,
                                             cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.stream = stream;
  cudaError_t status;
  config.gridDim = dim3(B * T);
  config.blockDim = dim3(LAYER_NORM_THREADS);
  status = cudaLaunchKernelEx(&config, layer_norm_kernel, norm1_weight, norm1_bias, x, layer_norm);
  if (status != cudaSuccess) return status;
  config.gridDim = dim3((3 * D + LINEAR_TILE_N - 1) / LINEAR_TILE_N,
                        (B * T + LINEAR_TILE_M - 1) / LINEAR_TILE_M);
  config.blockDim = dim3((LINEAR_TILE_M / LINEAR_ITEM_M) * (LINEAR_TILE_N / LINEAR_ITEM_N));
  status = cudaLaunchKernelEx(&config, linear_kernel, qkv_weight, qkv_bias, layer_norm,
                              linear_bias);
  if (status != cudaSuccess) return status;
  config.gridDim = dim3((T + SCORES_TILE_N - 1) / SCORES_TILE_N,
                        (T + SCORES_TILE_M - 1) / SCORES_TILE_M, B * HEADS);
  config.blockDim = dim3((SCORES_TILE_M / SCORES_ITEM_M) * (SCORES_TILE_N / SCORES_ITEM_N));
  status = cudaLaunchKernelEx(&config, scores_kernel, linear_bias, scores);
  if (status != cudaSuccess) return status;
  config.gridDim = dim3(B * HEADS * T);
  config.blockDim = dim3(WEIGHTS_THREADS);
  status = cudaLaunchKernelEx(&config, weights_kernel, scores, weights);
  if (status != cudaSuccess) return status;
  config.gridDim = dim3((D / HEADS + ATTENTION_TILE_N - 1) / ATTENTION_TILE_N,
                        (T + ATTENTION_TILE_M - 1) / ATTENTION_TILE_M, B * HEADS);
  config.blockDim = dim3((ATTENTION_TILE_M / ATTENTION_ITEM_M)
                         * (ATTENTION_TILE_N / ATTENTION_ITEM_N));
  status = cudaLaunchKernelEx(&config, attention_kernel, weights, linear_bias,
                              scaled_dot_product_attention);
  if (status != cudaSuccess) return status;
  config.gridDim = dim3((D + LINEAR_1_TILE_N - 1) / LINEAR_1_TILE_N,
                        (B * T + LINEAR_1_TILE_M - 1) / LINEAR_1_TILE_M);
  config.blockDim = dim3((LINEAR_1_TILE_M / LINEAR_1_ITEM_M) * (LINEAR_1_TILE_N / LINEAR_1_ITEM_N));
  status = cudaLaunchKernelEx(&config, linear_1_kernel, project_weight,
                              scaled_dot_product_attention, linear_1);
  if (status != cudaSuccess) return status;
  config.gridDim = dim3(B * T);
  config.blockDim = dim3(LAYER_NORM_1_THREADS);
  status = cudaLaunchKernelEx(&config, layer_norm_1_kernel, project_bias, norm2_weight, norm2_bias,
                              x, linear_1, layer_norm_1);
  if (status != cudaSuccess) return status;
  config.gridDim = dim3((4 * D + LINEAR_2_TILE_N - 1) / LINEAR_2_TILE_N,
                        (B * T + LINEAR_2_TILE_M - 1) / LINEAR_2_TILE_M);
  config.blockDim = dim3((LINEAR_2_TILE_M / LINEAR_2_ITEM_M) * (LINEAR_2_TILE_N / LINEAR_2_ITEM_N));
  status = cudaLaunchKernelEx(&config, linear_2_kernel, wide_weight, wide_bias, layer_norm_1, gelu);
  if (status != cudaSuccess) return status;
  config.gridDim = dim3((D + LINEAR_3_TILE_N - 1) / LINEAR_3_TILE_N,
                        (B * T + LINEAR_3_TILE_M - 1) / LINEAR_3_TILE_M);
  config.blockDim = dim3((LINEAR_3_TILE_M / LINEAR_3_ITEM_M) * (LINEAR_3_TILE_N / LINEAR_3_ITEM_N));
  return cudaLaunchKernelEx(&config, linear_3_kernel, project_bias, narrow_weight, narrow_bias, x,
                            gelu, linear_1, y);
}
#endif

#include <limits>
#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int B = 8, T = 1024, D = 768, HEADS = 12;
// Parameters of this variant.
constexpr int LAYER_NORM_THREADS = 64;
constexpr int LINEAR_TILE_M = 64, LINEAR_TILE_N = 128, LINEAR_TILE_K = 32, LINEAR_ITEM_M = 4;
constexpr int LINEAR_ITEM_N = 4;
constexpr int SCORES_TILE_M = 64, SCORES_TILE_N = 64, SCORES_TILE_K = 32, SCORES_ITEM_M = 8;
constexpr int SCORES_ITEM_N = 8;
constexpr int WEIGHTS_THREADS = 64;
constexpr int ATTENTION_TILE_M = 64, ATTENTION_TILE_N = 32, ATTENTION_TILE_K = 32;
constexpr int ATTENTION_ITEM_M = 4, ATTENTION_ITEM_N = 4;
constexpr int LINEAR_1_TILE_M = 64, LINEAR_1_TILE_N = 64, LINEAR_1_TILE_K = 32;
constexpr int LINEAR_1_ITEM_M = 4, LINEAR_1_ITEM_N = 4;
constexpr int LAYER_NORM_1_THREADS = 64;
constexpr int LINEAR_2_TILE_M = 64, LINEAR_2_TILE_N = 128, LINEAR_2_TILE_K = 32;
constexpr int LINEAR_2_ITEM_M = 8, LINEAR_2_ITEM_N = 8;
constexpr int LINEAR_3_TILE_M = 64, LINEAR_3_TILE_N = 64, LINEAR_3_TILE_K = 32;
constexpr int LINEAR_3_ITEM_M = 4, LINEAR_3_ITEM_N = 4;

constexpr float INFINITE = std::numeric_limits<float>::infinity();

// The larger of two; NaN wins, as in PyTorch.
inline float maximum(float a, float b) { return b > a || b != b ? b : a; }

// Columns of a thread.
constexpr int LAYER_NORM_VALUES = (D + LAYER_NORM_THREADS - 1) / LAYER_NORM_THREADS;

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void layer_norm_kernel(const float* norm1_weight, const float* norm1_bias, const float* x,
                       float* layer_norm) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int thread = item.get_local_linear_id();
  const int i = item.get_group(0);

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

  total = sycl::reduce_over_group(item.get_group(), total, sycl::plus<>());
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

  squares = sycl::reduce_over_group(item.get_group(), squares, sycl::plus<>());
  const float inverse_deviation = sycl::rsqrt(squares / (float)D + 1e-05f);

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
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void linear_kernel(const float* qkv_weight, const float* qkv_bias, const float* layer_norm,
                   float* linear_bias) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[LINEAR_TILE_K][LINEAR_TILE_M + 1]> layer_norm_tile;
  exp_::work_group_static<float[LINEAR_TILE_K][LINEAR_TILE_N + 1]> qkv_weight_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * LINEAR_TILE_N,
            row_first = item.get_group(1) * LINEAR_TILE_M;
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

    item.barrier(sycl::access::fence_space::local_space);

#pragma unroll 4
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
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
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
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void scores_kernel(const float* linear_bias, float* scores) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[SCORES_TILE_K][SCORES_TILE_M + 1]> linear_bias_rows_tile;
  exp_::work_group_static<float[SCORES_TILE_K][SCORES_TILE_N + 1]> linear_bias_cols_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * SCORES_TILE_N,
            row_first = item.get_group(1) * SCORES_TILE_M;
  const int batch = item.get_group(0);
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

    item.barrier(sycl::access::fence_space::local_space);

#pragma unroll 4
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
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
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
inline float workgroup_max(float value, float* scratch, int threads) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int thread = item.get_local_linear_id();
  scratch[thread] = value;
  item.barrier(sycl::access::fence_space::local_space);
  for (int count = threads / 2; count > 0; count /= 2) {
    if (thread < count) {
      const float other = scratch[thread + count];
      scratch[thread] = maximum(scratch[thread], other);
    }
    item.barrier(sycl::access::fence_space::local_space);
  }
  value = scratch[0];
  item.barrier(sycl::access::fence_space::local_space);  // scratch may be written again
  return value;
}

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void weights_kernel(const float* scores, float* weights) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  exp_::work_group_static<float[WEIGHTS_THREADS]> scratch;
  const int thread = item.get_local_linear_id();
  const int row = item.get_group(0);
  const int t = row % T;
  float masked[WEIGHTS_VALUES];
  float weight[WEIGHTS_VALUES];

  float highest = -INFINITE;
#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      masked[part] = tt <= t ? scores[row * T + tt] * sycl::rsqrt((float)(D / HEADS)) : -INFINITE;
      highest = maximum(highest, masked[part]);
    }
  }

  highest = workgroup_max(highest, scratch, WEIGHTS_THREADS);

  float total2 = 0.0f;
#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      weight[part] = sycl::exp(masked[part] - highest);
      total2 += weight[part];
    }
  }

  total2 = sycl::reduce_over_group(item.get_group(), total2, sycl::plus<>());

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
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void attention_kernel(const float* weights, const float* linear_bias,
                      float* scaled_dot_product_attention) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[ATTENTION_TILE_K][ATTENTION_TILE_M + 1]> weights_tile;
  exp_::work_group_static<float[ATTENTION_TILE_K][ATTENTION_TILE_N + 1]> linear_bias_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * ATTENTION_TILE_N,
            row_first = item.get_group(1) * ATTENTION_TILE_M;
  const int batch = item.get_group(0);
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

    item.barrier(sycl::access::fence_space::local_space);

#pragma unroll 4
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
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
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
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void linear_1_kernel(const float* project_weight, const float* scaled_dot_product_attention,
                     float* linear_1) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[LINEAR_1_TILE_K][LINEAR_1_TILE_M
                                                 + 1]> scaled_dot_product_attention_tile;
  exp_::work_group_static<float[LINEAR_1_TILE_K][LINEAR_1_TILE_N + 1]> project_weight_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * LINEAR_1_TILE_N,
            row_first = item.get_group(1) * LINEAR_1_TILE_M;
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

    item.barrier(sycl::access::fence_space::local_space);

#pragma unroll 4
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
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
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

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void layer_norm_1_kernel(const float* project_bias, const float* norm2_weight,
                         const float* norm2_bias, const float* x, const float* linear_1,
                         float* layer_norm_1) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int thread = item.get_local_linear_id();
  const int i = item.get_group(0);

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

  total3 = sycl::reduce_over_group(item.get_group(), total3, sycl::plus<>());
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

  squares2 = sycl::reduce_over_group(item.get_group(), squares2, sycl::plus<>());
  const float inverse_deviation = sycl::rsqrt(squares2 / (float)D + 1e-05f);

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
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void linear_2_kernel(const float* wide_weight, const float* wide_bias, const float* layer_norm_1,
                     float* gelu) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[LINEAR_2_TILE_K][LINEAR_2_TILE_M + 1]> layer_norm_1_tile;
  exp_::work_group_static<float[LINEAR_2_TILE_K][LINEAR_2_TILE_N + 1]> wide_weight_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * LINEAR_2_TILE_N,
            row_first = item.get_group(1) * LINEAR_2_TILE_M;
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

    item.barrier(sycl::access::fence_space::local_space);

#pragma unroll 4
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
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
  }

  for (int i = 0; i < LINEAR_2_ITEM_M; ++i)
    for (int j = 0; j < LINEAR_2_ITEM_N; ++j) {
      const int row = row_first + i * LINEAR_2_THREADS_M + my_row;
      const int i2 = col_first + j * LINEAR_2_THREADS_N + my_col;
      if (row < B * T && i2 < 4 * D) {
        const float linear_2_bias = sum[i][j] + wide_bias[i2];
        gelu[row * 4 * D + i2] = 0.5f * linear_2_bias
                                 * (1.0f + sycl::erf(linear_2_bias * 0.70710677f));
      }
    }
}

constexpr int LINEAR_3_THREADS_M = LINEAR_3_TILE_M / LINEAR_3_ITEM_M;
constexpr int LINEAR_3_THREADS_N = LINEAR_3_TILE_N / LINEAR_3_ITEM_N;
constexpr int LINEAR_3_THREADS = LINEAR_3_THREADS_M * LINEAR_3_THREADS_N;

// A product of matrices: (b, t) walks the rows, d the columns, the sum runs over i0.
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void linear_3_kernel(const float* project_bias, const float* narrow_weight,
                     const float* narrow_bias, const float* x, const float* gelu,
                     const float* linear_1, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[LINEAR_3_TILE_K][LINEAR_3_TILE_M + 1]> gelu_tile;
  exp_::work_group_static<float[LINEAR_3_TILE_K][LINEAR_3_TILE_N + 1]> narrow_weight_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * LINEAR_3_TILE_N,
            row_first = item.get_group(1) * LINEAR_3_TILE_M;
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

    item.barrier(sycl::access::fence_space::local_space);

#pragma unroll 4
    for (int step = 0; step < LINEAR_3_TILE_K; ++step) {
      float gelu_part[LINEAR_3_ITEM_M], narrow_weight_part[LINEAR_3_ITEM_N];
      for (int i = 0; i < LINEAR_3_ITEM_M; ++i)
        gelu_part[i] = gelu_tile[step][i * LINEAR_3_THREADS_M + my_row];
      for (int j = 0; j < LINEAR_3_ITEM_N; ++j)
        narrow_weight_part[j] = narrow_weight_tile[step][j * LINEAR_3_THREADS_N + my_col];
      for (int i = 0; i < LINEAR_3_ITEM_M; ++i)
        for (int j = 0; j < LINEAR_3_ITEM_N; ++j) sum[i][j] += gelu_part[i] * narrow_weight_part[j];
    }
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
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

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event transformer_block_f32(sycl::queue& queue, const float* norm1_weight,
                                  const float* norm1_bias, const float* qkv_weight,
                                  const float* qkv_bias, const float* project_weight,
                                  const float* project_bias, const float* norm2_weight,
                                  const float* norm2_bias, const float* wide_weight,
                                  const float* wide_bias, const float* narrow_weight,
                                  const float* narrow_bias, const float* x, float* y,
                                  float* layer_norm, float* linear_bias, float* scores,
                                  float* weights, float* scaled_dot_product_attention,
                                  float* linear_1, float* layer_norm_1, float* gelu) {
  const auto step1 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups(B * T);
    const sycl::range<1> items(LAYER_NORM_THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<layer_norm_kernel>, norm1_weight, norm1_bias, x,
                    layer_norm);
  });
  const auto step2 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step1);
    const sycl::range<3> groups(1, (B * T + LINEAR_TILE_M - 1) / LINEAR_TILE_M,
                                (3 * D + LINEAR_TILE_N - 1) / LINEAR_TILE_N);
    const sycl::range<3> items(1, 1, (LINEAR_TILE_M / LINEAR_ITEM_M)
                                     * (LINEAR_TILE_N / LINEAR_ITEM_N));
    exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                    exp_::kernel_function<linear_kernel>, qkv_weight, qkv_bias, layer_norm,
                    linear_bias);
  });
  const auto step3 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step2);
    const sycl::range<3> groups(B * HEADS, (T + SCORES_TILE_M - 1) / SCORES_TILE_M,
                                (T + SCORES_TILE_N - 1) / SCORES_TILE_N);
    const sycl::range<3> items(1, 1, (SCORES_TILE_M / SCORES_ITEM_M)
                                     * (SCORES_TILE_N / SCORES_ITEM_N));
    exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                    exp_::kernel_function<scores_kernel>, linear_bias, scores);
  });
  const auto step4 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step3);
    const sycl::range<1> groups(B * HEADS * T);
    const sycl::range<1> items(WEIGHTS_THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<weights_kernel>, scores, weights);
  });
  const auto step5 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step4);
    const sycl::range<3> groups(B * HEADS, (T + ATTENTION_TILE_M - 1) / ATTENTION_TILE_M,
                                (D / HEADS + ATTENTION_TILE_N - 1) / ATTENTION_TILE_N);
    const sycl::range<3> items(1, 1, (ATTENTION_TILE_M / ATTENTION_ITEM_M)
                                     * (ATTENTION_TILE_N / ATTENTION_ITEM_N));
    exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                    exp_::kernel_function<attention_kernel>, weights, linear_bias,
                    scaled_dot_product_attention);
  });
  const auto step6 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step5);
    const sycl::range<3> groups(1, (B * T + LINEAR_1_TILE_M - 1) / LINEAR_1_TILE_M,
                                (D + LINEAR_1_TILE_N - 1) / LINEAR_1_TILE_N);
    const sycl::range<3> items(1, 1, (LINEAR_1_TILE_M / LINEAR_1_ITEM_M)
                                     * (LINEAR_1_TILE_N / LINEAR_1_ITEM_N));
    exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                    exp_::kernel_function<linear_1_kernel>, project_weight,
                    scaled_dot_product_attention, linear_1);
  });
  const auto step7 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step6);
    const sycl::range<1> groups(B * T);
    const sycl::range<1> items(LAYER_NORM_1_THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<layer_norm_1_kernel>, project_bias, norm2_weight,
                    norm2_bias, x, linear_1, layer_norm_1);
  });
  const auto step8 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step7);
    const sycl::range<3> groups(1, (B * T + LINEAR_2_TILE_M - 1) / LINEAR_2_TILE_M,
                                (4 * D + LINEAR_2_TILE_N - 1) / LINEAR_2_TILE_N);
    const sycl::range<3> items(1, 1, (LINEAR_2_TILE_M / LINEAR_2_ITEM_M)
                                     * (LINEAR_2_TILE_N / LINEAR_2_ITEM_N));
    exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                    exp_::kernel_function<linear_2_kernel>, wide_weight, wide_bias, layer_norm_1,
                    gelu);
  });
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step8);
    const sycl::range<3> groups(1, (B * T + LINEAR_3_TILE_M - 1) / LINEAR_3_TILE_M,
                                (D + LINEAR_3_TILE_N - 1) / LINEAR_3_TILE_N);
    const sycl::range<3> items(1, 1, (LINEAR_3_TILE_M / LINEAR_3_ITEM_M)
                                     * (LINEAR_3_TILE_N / LINEAR_3_ITEM_N));
    exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                    exp_::kernel_function<linear_3_kernel>, project_bias, narrow_weight,
                    narrow_bias, x, gelu, linear_1, y);
  });
}

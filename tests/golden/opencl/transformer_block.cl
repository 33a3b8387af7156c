// Sizes. Everything below follows from them.
#define B     8
#define T     1024
#define D     768
#define HEADS 12
// Parameters of this variant.
#define LAYER_NORM_THREADS 64
#define LINEAR_TILE_M 64
#define LINEAR_TILE_N 128
#define LINEAR_TILE_K 32
#define LINEAR_ITEM_M 8
#define LINEAR_ITEM_N 8
#define SCORES_TILE_M 64
#define SCORES_TILE_N 64
#define SCORES_TILE_K 32
#define SCORES_ITEM_M 8
#define SCORES_ITEM_N 8
#define WEIGHTS_THREADS 64
#define ATTENTION_TILE_M 64
#define ATTENTION_TILE_N 32
#define ATTENTION_TILE_K 32
#define ATTENTION_ITEM_M 4
#define ATTENTION_ITEM_N 8
#define LINEAR_1_TILE_M 64
#define LINEAR_1_TILE_N 64
#define LINEAR_1_TILE_K 32
#define LINEAR_1_ITEM_M 8
#define LINEAR_1_ITEM_N 8
#define LAYER_NORM_1_THREADS 64
#define LINEAR_2_TILE_M 64
#define LINEAR_2_TILE_N 128
#define LINEAR_2_TILE_K 32
#define LINEAR_2_ITEM_M 8
#define LINEAR_2_ITEM_N 8
#define LINEAR_3_TILE_M 64
#define LINEAR_3_TILE_N 64
#define LINEAR_3_TILE_K 32
#define LINEAR_3_ITEM_M 8
#define LINEAR_3_ITEM_N 8

// The larger of two; NaN wins, as in PyTorch.
float maximum(float a, float b) { return b > a || b != b ? b : a; }

// Columns of a thread.
#define LAYER_NORM_VALUES ((D + LAYER_NORM_THREADS - 1) / LAYER_NORM_THREADS)

// The sum of `value` over the work-group; every thread gets it.
float workgroup_sum(float value, __local float* scratch, int threads) {
  const int thread = get_local_id(0);
  scratch[thread] = value;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int count = threads / 2; count > 0; count /= 2) {
    if (thread < count) {
      const float other = scratch[thread + count];
      scratch[thread] = scratch[thread] + other;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  value = scratch[0];
  barrier(CLK_LOCAL_MEM_FENCE);  // scratch may be written again
  return value;
}

__kernel __attribute__((reqd_work_group_size(LAYER_NORM_THREADS, 1, 1)))
void layer_norm_kernel(__global const float* restrict norm1_weight,
                       __global const float* restrict norm1_bias,
                       __global const float* restrict x, __global float* restrict layer_norm) {
  __local float scratch[LAYER_NORM_THREADS];
  const int thread = get_local_id(0);
  const int i = get_group_id(0);

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

  total = workgroup_sum(total, scratch, LAYER_NORM_THREADS);
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

  squares = workgroup_sum(squares, scratch, LAYER_NORM_THREADS);
  const float inverse_deviation = rsqrt(squares / (float)D + 1e-05f);

#pragma unroll
  for (int part = 0; part < LAYER_NORM_VALUES; ++part) {
    const int d = part * LAYER_NORM_THREADS + thread;
    if (d < D) {
      layer_norm[i * D + d] = centered[part] * inverse_deviation * norm1_weight[d] + norm1_bias[d];
    }
  }
}

#define LINEAR_THREADS_M (LINEAR_TILE_M / LINEAR_ITEM_M)
#define LINEAR_THREADS_N (LINEAR_TILE_N / LINEAR_ITEM_N)
#define LINEAR_THREADS (LINEAR_THREADS_M * LINEAR_THREADS_N)

// A product of matrices: (b, t) walks the rows, i2 the columns, the sum runs over d.
__kernel __attribute__((reqd_work_group_size(LINEAR_THREADS, 1, 1)))
void linear_kernel(__global const float* restrict qkv_weight,
                   __global const float* restrict qkv_bias,
                   __global const float* restrict layer_norm,
                   __global float* restrict linear_bias) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float layer_norm_tile[LINEAR_TILE_K][LINEAR_TILE_M + 1];
  __local float qkv_weight_tile[LINEAR_TILE_K][LINEAR_TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * LINEAR_TILE_N,
            row_first = get_group_id(1) * LINEAR_TILE_M;
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

    barrier(CLK_LOCAL_MEM_FENCE);

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
    barrier(CLK_LOCAL_MEM_FENCE);  // the tiles are filled again
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

#define SCORES_THREADS_M (SCORES_TILE_M / SCORES_ITEM_M)
#define SCORES_THREADS_N (SCORES_TILE_N / SCORES_ITEM_N)
#define SCORES_THREADS (SCORES_THREADS_M * SCORES_THREADS_N)

// A product of matrices: t walks the rows, tt the columns, the sum runs over i0.
__kernel __attribute__((reqd_work_group_size(SCORES_THREADS, 1, 1)))
void scores_kernel(__global const float* restrict linear_bias, __global float* restrict scores) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float linear_bias_rows_tile[SCORES_TILE_K][SCORES_TILE_M + 1];
  __local float linear_bias_cols_tile[SCORES_TILE_K][SCORES_TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * SCORES_TILE_N,
            row_first = get_group_id(1) * SCORES_TILE_M;
  const int batch = get_group_id(2);
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

    barrier(CLK_LOCAL_MEM_FENCE);

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
    barrier(CLK_LOCAL_MEM_FENCE);  // the tiles are filled again
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

#define WEIGHTS_VALUES ((T + WEIGHTS_THREADS - 1) / WEIGHTS_THREADS)  // columns of a thread

// The largest of `value` over the work-group; every thread gets it.
float workgroup_max(float value, __local float* scratch, int threads) {
  const int thread = get_local_id(0);
  scratch[thread] = value;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int count = threads / 2; count > 0; count /= 2) {
    if (thread < count) {
      const float other = scratch[thread + count];
      scratch[thread] = maximum(scratch[thread], other);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  value = scratch[0];
  barrier(CLK_LOCAL_MEM_FENCE);  // scratch may be written again
  return value;
}

__kernel __attribute__((reqd_work_group_size(WEIGHTS_THREADS, 1, 1)))
void weights_kernel(__global const float* restrict scores, __global float* restrict weights) {
  __local float scratch[WEIGHTS_THREADS];
  const int thread = get_local_id(0);
  const int row = get_group_id(0);
  const int t = row % T;
  float masked[WEIGHTS_VALUES];
  float weight[WEIGHTS_VALUES];

  float highest = -INFINITY;
#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      masked[part] = tt <= t ? scores[row * T + tt] * rsqrt((float)(D / HEADS)) : -INFINITY;
      highest = maximum(highest, masked[part]);
    }
  }

  highest = workgroup_max(highest, scratch, WEIGHTS_THREADS);

  float total2 = 0.0f;
#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      weight[part] = exp(masked[part] - highest);
      total2 += weight[part];
    }
  }

  total2 = workgroup_sum(total2, scratch, WEIGHTS_THREADS);

#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      weights[row * T + tt] = weight[part] / total2;
    }
  }
}

#define ATTENTION_THREADS_M (ATTENTION_TILE_M / ATTENTION_ITEM_M)
#define ATTENTION_THREADS_N (ATTENTION_TILE_N / ATTENTION_ITEM_N)
#define ATTENTION_THREADS (ATTENTION_THREADS_M * ATTENTION_THREADS_N)

// A product of matrices: t walks the rows, i3 the columns, the sum runs over tt.
__kernel __attribute__((reqd_work_group_size(ATTENTION_THREADS, 1, 1)))
void attention_kernel(__global const float* restrict weights,
                      __global const float* restrict linear_bias,
                      __global float* restrict scaled_dot_product_attention) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float weights_tile[ATTENTION_TILE_K][ATTENTION_TILE_M + 1];
  __local float linear_bias_tile[ATTENTION_TILE_K][ATTENTION_TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * ATTENTION_TILE_N,
            row_first = get_group_id(1) * ATTENTION_TILE_M;
  const int batch = get_group_id(2);
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

    barrier(CLK_LOCAL_MEM_FENCE);

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
    barrier(CLK_LOCAL_MEM_FENCE);  // the tiles are filled again
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

#define LINEAR_1_THREADS_M (LINEAR_1_TILE_M / LINEAR_1_ITEM_M)
#define LINEAR_1_THREADS_N (LINEAR_1_TILE_N / LINEAR_1_ITEM_N)
#define LINEAR_1_THREADS (LINEAR_1_THREADS_M * LINEAR_1_THREADS_N)

// A product of matrices: (b, t) walks the rows, d the columns, the sum runs over dd.
__kernel __attribute__((reqd_work_group_size(LINEAR_1_THREADS, 1, 1)))
void linear_1_kernel(__global const float* restrict project_weight,
                     __global const float* restrict scaled_dot_product_attention,
                     __global float* restrict linear_1) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float scaled_dot_product_attention_tile[LINEAR_1_TILE_K][LINEAR_1_TILE_M + 1];
  __local float project_weight_tile[LINEAR_1_TILE_K][LINEAR_1_TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * LINEAR_1_TILE_N,
            row_first = get_group_id(1) * LINEAR_1_TILE_M;
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

    barrier(CLK_LOCAL_MEM_FENCE);

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
    barrier(CLK_LOCAL_MEM_FENCE);  // the tiles are filled again
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
#define LAYER_NORM_1_VALUES ((D + LAYER_NORM_1_THREADS - 1) / LAYER_NORM_1_THREADS)

__kernel __attribute__((reqd_work_group_size(LAYER_NORM_1_THREADS, 1, 1)))
void layer_norm_1_kernel(__global const float* restrict project_bias,
                         __global const float* restrict norm2_weight,
                         __global const float* restrict norm2_bias,
                         __global const float* restrict x,
                         __global const float* restrict linear_1,
                         __global float* restrict layer_norm_1) {
  __local float scratch[LAYER_NORM_1_THREADS];
  const int thread = get_local_id(0);
  const int i = get_group_id(0);

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

  total3 = workgroup_sum(total3, scratch, LAYER_NORM_1_THREADS);
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

  squares2 = workgroup_sum(squares2, scratch, LAYER_NORM_1_THREADS);
  const float inverse_deviation = rsqrt(squares2 / (float)D + 1e-05f);

#pragma unroll
  for (int part = 0; part < LAYER_NORM_1_VALUES; ++part) {
    const int d = part * LAYER_NORM_1_THREADS + thread;
    if (d < D) {
      layer_norm_1[i * D + d] = centered[part] * inverse_deviation * norm2_weight[d]
                                + norm2_bias[d];
    }
  }
}

#define LINEAR_2_THREADS_M (LINEAR_2_TILE_M / LINEAR_2_ITEM_M)
#define LINEAR_2_THREADS_N (LINEAR_2_TILE_N / LINEAR_2_ITEM_N)
#define LINEAR_2_THREADS (LINEAR_2_THREADS_M * LINEAR_2_THREADS_N)

// A product of matrices: (b, t) walks the rows, i2 the columns, the sum runs over d.
__kernel __attribute__((reqd_work_group_size(LINEAR_2_THREADS, 1, 1)))
void linear_2_kernel(__global const float* restrict wide_weight,
                     __global const float* restrict wide_bias,
                     __global const float* restrict layer_norm_1, __global float* restrict gelu) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float layer_norm_1_tile[LINEAR_2_TILE_K][LINEAR_2_TILE_M + 1];
  __local float wide_weight_tile[LINEAR_2_TILE_K][LINEAR_2_TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * LINEAR_2_TILE_N,
            row_first = get_group_id(1) * LINEAR_2_TILE_M;
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

    barrier(CLK_LOCAL_MEM_FENCE);

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
    barrier(CLK_LOCAL_MEM_FENCE);  // the tiles are filled again
  }

  for (int i = 0; i < LINEAR_2_ITEM_M; ++i)
    for (int j = 0; j < LINEAR_2_ITEM_N; ++j) {
      const int row = row_first + i * LINEAR_2_THREADS_M + my_row;
      const int i2 = col_first + j * LINEAR_2_THREADS_N + my_col;
      if (row < B * T && i2 < 4 * D) {
        const float linear_2_bias = sum[i][j] + wide_bias[i2];
        gelu[row * 4 * D + i2] = 0.5f * linear_2_bias * (1.0f + erf(linear_2_bias * 0.70710677f));
      }
    }
}

#define LINEAR_3_THREADS_M (LINEAR_3_TILE_M / LINEAR_3_ITEM_M)
#define LINEAR_3_THREADS_N (LINEAR_3_TILE_N / LINEAR_3_ITEM_N)
#define LINEAR_3_THREADS (LINEAR_3_THREADS_M * LINEAR_3_THREADS_N)

// A product of matrices: (b, t) walks the rows, d the columns, the sum runs over i0.
__kernel __attribute__((reqd_work_group_size(LINEAR_3_THREADS, 1, 1)))
void linear_3_kernel(__global const float* restrict project_bias,
                     __global const float* restrict narrow_weight,
                     __global const float* restrict narrow_bias, __global const float* restrict x,
                     __global const float* restrict gelu, __global const float* restrict linear_1,
                     __global float* restrict y) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float gelu_tile[LINEAR_3_TILE_K][LINEAR_3_TILE_M + 1];
  __local float narrow_weight_tile[LINEAR_3_TILE_K][LINEAR_3_TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * LINEAR_3_TILE_N,
            row_first = get_group_id(1) * LINEAR_3_TILE_M;
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

    barrier(CLK_LOCAL_MEM_FENCE);

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
    barrier(CLK_LOCAL_MEM_FENCE);  // the tiles are filled again
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

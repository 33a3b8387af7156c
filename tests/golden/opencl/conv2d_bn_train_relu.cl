// Sizes. Everything below follows from them.
#define N     32
#define C     64
#define K     128
#define H     56
#define W     56
#define PAD_H 1
#define PAD_W 1
#define P     56
#define Q     56
// Parameters of this variant.
#define CONV2D_TILE_M 128
#define CONV2D_TILE_N 128
#define CONV2D_TILE_K 32
#define CONV2D_ITEM_M 8
#define CONV2D_ITEM_N 8
#define RELU_THREADS 64
#define BATCH_COUNT_THREADS 128
#define BATCH_COUNT_ITEMS   1

#define CONV2D_THREADS_M (CONV2D_TILE_M / CONV2D_ITEM_M)
#define CONV2D_THREADS_N (CONV2D_TILE_N / CONV2D_ITEM_N)
#define CONV2D_THREADS (CONV2D_THREADS_M * CONV2D_THREADS_N)

// A product of matrices: k walks the rows, (n, p, q) the columns, the sum runs over (c, r, s).
__kernel __attribute__((reqd_work_group_size(CONV2D_THREADS, 1, 1)))
void conv2d_kernel(__global const float* restrict conv_weight, __global const float* restrict x,
                   __global float* restrict conv2d) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float conv_weight_tile[CONV2D_TILE_K][CONV2D_TILE_M + 1];
  __local float x_tile[CONV2D_TILE_K][CONV2D_TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * CONV2D_TILE_N,
            row_first = get_group_id(1) * CONV2D_TILE_M;
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

    barrier(CLK_LOCAL_MEM_FENCE);

#pragma unroll 4
    for (int step = 0; step < CONV2D_TILE_K; ++step) {
      float conv_weight_part[CONV2D_ITEM_M], x_part[CONV2D_ITEM_N];
      for (int i = 0; i < CONV2D_ITEM_M; ++i)
        conv_weight_part[i] = conv_weight_tile[step][i * CONV2D_THREADS_M + my_row];
      for (int j = 0; j < CONV2D_ITEM_N; ++j)
        x_part[j] = x_tile[step][j * CONV2D_THREADS_N + my_col];
      for (int i = 0; i < CONV2D_ITEM_M; ++i)
        for (int j = 0; j < CONV2D_ITEM_N; ++j) sum[i][j] += conv_weight_part[i] * x_part[j];
    }
    barrier(CLK_LOCAL_MEM_FENCE);  // the tiles are filled again
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

__kernel __attribute__((reqd_work_group_size(RELU_THREADS, 1, 1)))
void relu_kernel(__global const float* restrict conv_bias,
                 __global const float* restrict norm_weight,
                 __global const float* restrict norm_bias,
                 __global float* restrict norm_running_mean,
                 __global float* restrict norm_running_var, __global const float* restrict conv2d,
                 __global float* restrict y) {
  __local float scratch[RELU_THREADS];
  const int thread = get_local_id(0);
  const int k = get_group_id(0);

  float total = 0.0f;
  for (int col = thread; col < N * P * Q; col += RELU_THREADS) {
    const int n = col / (P * Q);
    const int i = col % (P * Q);
    total += conv2d[(n * K + k) * P * Q + i] + conv_bias[k];
  }

  total = workgroup_sum(total, scratch, RELU_THREADS);
  const float mean = total / (float)(N * P * Q);

  float squares = 0.0f;
  for (int col = thread; col < N * P * Q; col += RELU_THREADS) {
    const int n = col / (P * Q);
    const int i = col % (P * Q);
    const float centered = conv2d[(n * K + k) * P * Q + i] + conv_bias[k] - mean;
    squares += centered * centered;
  }

  squares = workgroup_sum(squares, scratch, RELU_THREADS);
  const float inverse_deviation = rsqrt(squares / (float)(N * P * Q) + 1e-05f);

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

__kernel __attribute__((reqd_work_group_size(BATCH_COUNT_THREADS, 1, 1)))
void batch_count_kernel(__global long* restrict norm_num_batches_tracked) {
  const int first = get_group_id(0) * (BATCH_COUNT_THREADS * BATCH_COUNT_ITEMS) + get_local_id(0);
#pragma unroll
  for (int part = 0; part < BATCH_COUNT_ITEMS; ++part) {
    const int i = first + part * BATCH_COUNT_THREADS;
    if (i < 1) {
      norm_num_batches_tracked[0] = norm_num_batches_tracked[0] + 1;
    }
  }
}

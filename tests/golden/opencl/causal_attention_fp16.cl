// Sizes. Everything below follows from them.
#define B 4
#define H 16
#define T 1024
#define D 64
// Parameters of this variant.
#define SCORES_TILE_M 128
#define SCORES_TILE_N 128
#define SCORES_TILE_K 32
#define SCORES_ITEM_M 8
#define SCORES_ITEM_N 8
#define WEIGHTS_THREADS 64
#define ATTENTION_TILE_M 128
#define ATTENTION_TILE_N 64
#define ATTENTION_TILE_K 32
#define ATTENTION_ITEM_M 8
#define ATTENTION_ITEM_N 8

// The larger of two; NaN wins, as in PyTorch.
float maximum(float a, float b) { return b > a || b != b ? b : a; }

#define SCORES_THREADS_M (SCORES_TILE_M / SCORES_ITEM_M)
#define SCORES_THREADS_N (SCORES_TILE_N / SCORES_ITEM_N)
#define SCORES_THREADS (SCORES_THREADS_M * SCORES_THREADS_N)

// A product of matrices: t walks the rows, tt the columns, the sum runs over d.
__kernel __attribute__((reqd_work_group_size(SCORES_THREADS, 1, 1)))
void scores_kernel(__global const half* restrict q, __global const half* restrict k,
                   __global float* restrict scores) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float q_tile[SCORES_TILE_K][SCORES_TILE_M + 1];
  __local float k_tile[SCORES_TILE_K][SCORES_TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * SCORES_TILE_N,
            row_first = get_group_id(1) * SCORES_TILE_M;
  const int batch = get_group_id(2);
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / SCORES_THREADS_N, my_col = thread % SCORES_THREADS_N;
  float sum[SCORES_ITEM_M][SCORES_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < D; depth_first += SCORES_TILE_K) {
    for (int e = thread; e < SCORES_TILE_M * SCORES_TILE_K; e += SCORES_THREADS) {
      const int line = e / SCORES_TILE_K, step = e % SCORES_TILE_K;
      const int t = row_first + line, d = depth_first + step;
      float value = 0.0f;
      if (t < T && d < D) {
        value = vload_half((batch * T + t) * D + d, q);
      }
      q_tile[step][line] = value;
    }

    for (int e = thread; e < SCORES_TILE_N * SCORES_TILE_K; e += SCORES_THREADS) {
      const int line = e / SCORES_TILE_K, step = e % SCORES_TILE_K;
      const int tt = col_first + line, d = depth_first + step;
      float value = 0.0f;
      if (tt < T && d < D) {
        value = vload_half((batch * T + tt) * D + d, k);
      }
      k_tile[step][line] = value;
    }

    barrier(CLK_LOCAL_MEM_FENCE);

#pragma unroll 4
    for (int step = 0; step < SCORES_TILE_K; ++step) {
      float q_part[SCORES_ITEM_M], k_part[SCORES_ITEM_N];
      for (int i = 0; i < SCORES_ITEM_M; ++i)
        q_part[i] = q_tile[step][i * SCORES_THREADS_M + my_row];
      for (int j = 0; j < SCORES_ITEM_N; ++j)
        k_part[j] = k_tile[step][j * SCORES_THREADS_N + my_col];
      for (int i = 0; i < SCORES_ITEM_M; ++i)
        for (int j = 0; j < SCORES_ITEM_N; ++j) sum[i][j] += q_part[i] * k_part[j];
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
      masked[part] = tt <= t ? scores[row * T + tt] * rsqrt((float)D) : -INFINITY;
      highest = maximum(highest, masked[part]);
    }
  }

  highest = workgroup_max(highest, scratch, WEIGHTS_THREADS);

  float total = 0.0f;
#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      weight[part] = exp(masked[part] - highest);
      total += weight[part];
    }
  }

  total = workgroup_sum(total, scratch, WEIGHTS_THREADS);

#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      weights[row * T + tt] = weight[part] / total;
    }
  }
}

#define ATTENTION_THREADS_M (ATTENTION_TILE_M / ATTENTION_ITEM_M)
#define ATTENTION_THREADS_N (ATTENTION_TILE_N / ATTENTION_ITEM_N)
#define ATTENTION_THREADS (ATTENTION_THREADS_M * ATTENTION_THREADS_N)

// A product of matrices: t walks the rows, d the columns, the sum runs over tt.
__kernel __attribute__((reqd_work_group_size(ATTENTION_THREADS, 1, 1)))
void attention_kernel(__global const half* restrict v, __global const float* restrict weights,
                      __global half* restrict y) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float weights_tile[ATTENTION_TILE_K][ATTENTION_TILE_M + 1];
  __local float v_tile[ATTENTION_TILE_K][ATTENTION_TILE_N + 1];
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
      const int d = col_first + line, tt = depth_first + step;
      float value = 0.0f;
      if (d < D && tt < T) {
        value = vload_half((batch * T + tt) * D + d, v);
      }
      v_tile[step][line] = value;
    }

    barrier(CLK_LOCAL_MEM_FENCE);

#pragma unroll 4
    for (int step = 0; step < ATTENTION_TILE_K; ++step) {
      float weights_part[ATTENTION_ITEM_M], v_part[ATTENTION_ITEM_N];
      for (int i = 0; i < ATTENTION_ITEM_M; ++i)
        weights_part[i] = weights_tile[step][i * ATTENTION_THREADS_M + my_row];
      for (int j = 0; j < ATTENTION_ITEM_N; ++j)
        v_part[j] = v_tile[step][j * ATTENTION_THREADS_N + my_col];
      for (int i = 0; i < ATTENTION_ITEM_M; ++i)
        for (int j = 0; j < ATTENTION_ITEM_N; ++j) sum[i][j] += weights_part[i] * v_part[j];
    }
    barrier(CLK_LOCAL_MEM_FENCE);  // the tiles are filled again
  }

  for (int i = 0; i < ATTENTION_ITEM_M; ++i)
    for (int j = 0; j < ATTENTION_ITEM_N; ++j) {
      const int t = row_first + i * ATTENTION_THREADS_M + my_row;
      const int d = col_first + j * ATTENTION_THREADS_N + my_col;
      if (t < T && d < D) {
        vstore_half_rte(sum[i][j], (batch * T + t) * D + d, y);
      }
    }
}

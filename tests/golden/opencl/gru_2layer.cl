// Sizes. Everything below follows from them.
#define T     128
#define B     64
#define I     256
#define H     512
#define GATES 1536
// Parameters of this variant.
#define X_GATES_L0_TILE_M 128
#define X_GATES_L0_TILE_N 128
#define X_GATES_L0_TILE_K 32
#define X_GATES_L0_ITEM_M 8
#define X_GATES_L0_ITEM_N 8
#define H_L0_THREADS 512
#define H_L0_ITEMS   8
#define H_GATES_L0_TILE_M 64
#define H_GATES_L0_TILE_N 128
#define H_GATES_L0_TILE_K 32
#define H_GATES_L0_ITEM_M 8
#define H_GATES_L0_ITEM_N 8
#define H_NEXT_L0_THREADS 512
#define H_NEXT_L0_ITEMS   8
#define X_GATES_L1_TILE_M 128
#define X_GATES_L1_TILE_N 128
#define X_GATES_L1_TILE_K 32
#define X_GATES_L1_ITEM_M 8
#define X_GATES_L1_ITEM_N 8
#define H_L1_THREADS 512
#define H_L1_ITEMS   8
#define H_GATES_L1_TILE_M 64
#define H_GATES_L1_TILE_N 128
#define H_GATES_L1_TILE_K 32
#define H_GATES_L1_ITEM_M 8
#define H_GATES_L1_ITEM_N 8
#define H_NEXT_L1_THREADS 512
#define H_NEXT_L1_ITEMS   8
#define HN_THREADS 512
#define HN_ITEMS   8

#define X_GATES_L0_THREADS_M (X_GATES_L0_TILE_M / X_GATES_L0_ITEM_M)
#define X_GATES_L0_THREADS_N (X_GATES_L0_TILE_N / X_GATES_L0_ITEM_N)
#define X_GATES_L0_THREADS (X_GATES_L0_THREADS_M * X_GATES_L0_THREADS_N)

// A product of matrices: (t, b) walks the rows, gate the columns, the sum runs over i.
__kernel __attribute__((reqd_work_group_size(X_GATES_L0_THREADS, 1, 1)))
void x_gates_l0_kernel(__global const float* restrict gru_weight_ih_l0,
                       __global const float* restrict gru_bias_ih_l0,
                       __global const float* restrict x,
                       __global float* restrict x_gates_l0_biased) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float x_tile[X_GATES_L0_TILE_K][X_GATES_L0_TILE_M + 1];
  __local float gru_weight_ih_l0_tile[X_GATES_L0_TILE_K][X_GATES_L0_TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * X_GATES_L0_TILE_N,
            row_first = get_group_id(1) * X_GATES_L0_TILE_M;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / X_GATES_L0_THREADS_N, my_col = thread % X_GATES_L0_THREADS_N;
  float sum[X_GATES_L0_ITEM_M][X_GATES_L0_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < I; depth_first += X_GATES_L0_TILE_K) {
    for (int e = thread; e < X_GATES_L0_TILE_M * X_GATES_L0_TILE_K; e += X_GATES_L0_THREADS) {
      const int line = e / X_GATES_L0_TILE_K, step = e % X_GATES_L0_TILE_K;
      const int row = row_first + line, i = depth_first + step;
      float value = 0.0f;
      if (row < T * B && i < I) {
        value = x[row * I + i];
      }
      x_tile[step][line] = value;
    }

    for (int e = thread; e < X_GATES_L0_TILE_N * X_GATES_L0_TILE_K; e += X_GATES_L0_THREADS) {
      const int line = e / X_GATES_L0_TILE_K, step = e % X_GATES_L0_TILE_K;
      const int gate = col_first + line, i = depth_first + step;
      float value = 0.0f;
      if (gate < GATES && i < I) {
        value = gru_weight_ih_l0[gate * I + i];
      }
      gru_weight_ih_l0_tile[step][line] = value;
    }

    barrier(CLK_LOCAL_MEM_FENCE);

#pragma unroll 4
    for (int step = 0; step < X_GATES_L0_TILE_K; ++step) {
      float x_part[X_GATES_L0_ITEM_M], gru_weight_ih_l0_part[X_GATES_L0_ITEM_N];
      for (int i = 0; i < X_GATES_L0_ITEM_M; ++i)
        x_part[i] = x_tile[step][i * X_GATES_L0_THREADS_M + my_row];
      for (int j = 0; j < X_GATES_L0_ITEM_N; ++j)
        gru_weight_ih_l0_part[j] = gru_weight_ih_l0_tile[step][j * X_GATES_L0_THREADS_N + my_col];
      for (int i = 0; i < X_GATES_L0_ITEM_M; ++i)
        for (int j = 0; j < X_GATES_L0_ITEM_N; ++j)
          sum[i][j] += x_part[i] * gru_weight_ih_l0_part[j];
    }
    barrier(CLK_LOCAL_MEM_FENCE);  // the tiles are filled again
  }

  for (int i = 0; i < X_GATES_L0_ITEM_M; ++i)
    for (int j = 0; j < X_GATES_L0_ITEM_N; ++j) {
      const int row = row_first + i * X_GATES_L0_THREADS_M + my_row;
      const int gate = col_first + j * X_GATES_L0_THREADS_N + my_col;
      if (row < T * B && gate < GATES) {
        x_gates_l0_biased[row * GATES + gate] = sum[i][j] + gru_bias_ih_l0[gate];
      }
    }
}

__kernel __attribute__((reqd_work_group_size(H_L0_THREADS, 1, 1)))
void h_l0_kernel(__global const float* restrict h0, __global float* restrict h_l0) {
  const int first = get_group_id(0) * (H_L0_THREADS * H_L0_ITEMS) + get_local_id(0);
#pragma unroll
  for (int part = 0; part < H_L0_ITEMS; ++part) {
    const int i = first + part * H_L0_THREADS;
    if (i < B * H) {
      h_l0[i] = h0[i];
    }
  }
}

#define H_GATES_L0_THREADS_M (H_GATES_L0_TILE_M / H_GATES_L0_ITEM_M)
#define H_GATES_L0_THREADS_N (H_GATES_L0_TILE_N / H_GATES_L0_ITEM_N)
#define H_GATES_L0_THREADS (H_GATES_L0_THREADS_M * H_GATES_L0_THREADS_N)

// A product of matrices: b walks the rows, gate the columns, the sum runs over k.
__kernel __attribute__((reqd_work_group_size(H_GATES_L0_THREADS, 1, 1)))
void h_gates_l0_kernel(__global const float* restrict gru_weight_hh_l0,
                       __global const float* restrict h_l0, __global float* restrict h_gates_l0) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float h_l0_tile[H_GATES_L0_TILE_K][H_GATES_L0_TILE_M + 1];
  __local float gru_weight_hh_l0_tile[H_GATES_L0_TILE_K][H_GATES_L0_TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * H_GATES_L0_TILE_N,
            row_first = get_group_id(1) * H_GATES_L0_TILE_M;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / H_GATES_L0_THREADS_N, my_col = thread % H_GATES_L0_THREADS_N;
  float sum[H_GATES_L0_ITEM_M][H_GATES_L0_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < H; depth_first += H_GATES_L0_TILE_K) {
    for (int e = thread; e < H_GATES_L0_TILE_M * H_GATES_L0_TILE_K; e += H_GATES_L0_THREADS) {
      const int line = e / H_GATES_L0_TILE_K, step = e % H_GATES_L0_TILE_K;
      const int b = row_first + line, k = depth_first + step;
      float value = 0.0f;
      if (b < B && k < H) {
        value = h_l0[b * H + k];
      }
      h_l0_tile[step][line] = value;
    }

    for (int e = thread; e < H_GATES_L0_TILE_N * H_GATES_L0_TILE_K; e += H_GATES_L0_THREADS) {
      const int line = e / H_GATES_L0_TILE_K, step = e % H_GATES_L0_TILE_K;
      const int gate = col_first + line, k = depth_first + step;
      float value = 0.0f;
      if (gate < GATES && k < H) {
        value = gru_weight_hh_l0[gate * H + k];
      }
      gru_weight_hh_l0_tile[step][line] = value;
    }

    barrier(CLK_LOCAL_MEM_FENCE);

#pragma unroll 4
    for (int step = 0; step < H_GATES_L0_TILE_K; ++step) {
      float h_l0_part[H_GATES_L0_ITEM_M], gru_weight_hh_l0_part[H_GATES_L0_ITEM_N];
      for (int i = 0; i < H_GATES_L0_ITEM_M; ++i)
        h_l0_part[i] = h_l0_tile[step][i * H_GATES_L0_THREADS_M + my_row];
      for (int j = 0; j < H_GATES_L0_ITEM_N; ++j)
        gru_weight_hh_l0_part[j] = gru_weight_hh_l0_tile[step][j * H_GATES_L0_THREADS_N + my_col];
      for (int i = 0; i < H_GATES_L0_ITEM_M; ++i)
        for (int j = 0; j < H_GATES_L0_ITEM_N; ++j)
          sum[i][j] += h_l0_part[i] * gru_weight_hh_l0_part[j];
    }
    barrier(CLK_LOCAL_MEM_FENCE);  // the tiles are filled again
  }

  for (int i = 0; i < H_GATES_L0_ITEM_M; ++i)
    for (int j = 0; j < H_GATES_L0_ITEM_N; ++j) {
      const int b = row_first + i * H_GATES_L0_THREADS_M + my_row;
      const int gate = col_first + j * H_GATES_L0_THREADS_N + my_col;
      if (b < B && gate < GATES) {
        h_gates_l0[b * GATES + gate] = sum[i][j];
      }
    }
}

__kernel __attribute__((reqd_work_group_size(H_NEXT_L0_THREADS, 1, 1)))
void h_next_l0_kernel(__global const float* restrict gru_bias_hh_l0,
                      __global const float* restrict x_gates_l0_biased,
                      const long x_gates_l0_biased_first,
                      __global const float* restrict h_gates_l0,
                      __global const float* restrict h_l0, __global float* restrict h_next_l0,
                      __global float* restrict y_l0, const long y_l0_first) {
  x_gates_l0_biased += x_gates_l0_biased_first;
  y_l0 += y_l0_first;
  const int first = get_group_id(0) * (H_NEXT_L0_THREADS * H_NEXT_L0_ITEMS) + get_local_id(0);
#pragma unroll
  for (int part = 0; part < H_NEXT_L0_ITEMS; ++part) {
    const int i = first + part * H_NEXT_L0_THREADS;
    if (i < B * H) {
      const int b = i / H;
      const int k = i % H;
      const float update = 1.0f / (1.0f + exp(-(x_gates_l0_biased[(b * 3 + 1) * H + k]
                                                + (h_gates_l0[(b * 3 + 1) * H + k]
                                                   + gru_bias_hh_l0[H + k]))));
      const float reset = 1.0f / (1.0f + exp(-(x_gates_l0_biased[b * 3 * H + k]
                                               + (h_gates_l0[b * 3 * H + k] + gru_bias_hh_l0[k]))));
      const float candidate = tanh(x_gates_l0_biased[(b * 3 + 2) * H + k]
                                   + reset * (h_gates_l0[(b * 3 + 2) * H + k]
                                              + gru_bias_hh_l0[2 * H + k]));
      const float state = (1.0f - update) * candidate + update * h_l0[i];
      h_next_l0[i] = state;
      y_l0[i] = state;
    }
  }
}

#define X_GATES_L1_THREADS_M (X_GATES_L1_TILE_M / X_GATES_L1_ITEM_M)
#define X_GATES_L1_THREADS_N (X_GATES_L1_TILE_N / X_GATES_L1_ITEM_N)
#define X_GATES_L1_THREADS (X_GATES_L1_THREADS_M * X_GATES_L1_THREADS_N)

// A product of matrices: (t, b) walks the rows, gate the columns, the sum runs over i.
__kernel __attribute__((reqd_work_group_size(X_GATES_L1_THREADS, 1, 1)))
void x_gates_l1_kernel(__global const float* restrict gru_weight_ih_l1,
                       __global const float* restrict gru_bias_ih_l1,
                       __global const float* restrict y_l0,
                       __global float* restrict x_gates_l1_biased) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float y_l0_tile[X_GATES_L1_TILE_K][X_GATES_L1_TILE_M + 1];
  __local float gru_weight_ih_l1_tile[X_GATES_L1_TILE_K][X_GATES_L1_TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * X_GATES_L1_TILE_N,
            row_first = get_group_id(1) * X_GATES_L1_TILE_M;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / X_GATES_L1_THREADS_N, my_col = thread % X_GATES_L1_THREADS_N;
  float sum[X_GATES_L1_ITEM_M][X_GATES_L1_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < H; depth_first += X_GATES_L1_TILE_K) {
    for (int e = thread; e < X_GATES_L1_TILE_M * X_GATES_L1_TILE_K; e += X_GATES_L1_THREADS) {
      const int line = e / X_GATES_L1_TILE_K, step = e % X_GATES_L1_TILE_K;
      const int row = row_first + line, i = depth_first + step;
      float value = 0.0f;
      if (row < T * B && i < H) {
        value = y_l0[row * H + i];
      }
      y_l0_tile[step][line] = value;
    }

    for (int e = thread; e < X_GATES_L1_TILE_N * X_GATES_L1_TILE_K; e += X_GATES_L1_THREADS) {
      const int line = e / X_GATES_L1_TILE_K, step = e % X_GATES_L1_TILE_K;
      const int gate = col_first + line, i = depth_first + step;
      float value = 0.0f;
      if (gate < GATES && i < H) {
        value = gru_weight_ih_l1[gate * H + i];
      }
      gru_weight_ih_l1_tile[step][line] = value;
    }

    barrier(CLK_LOCAL_MEM_FENCE);

#pragma unroll 4
    for (int step = 0; step < X_GATES_L1_TILE_K; ++step) {
      float y_l0_part[X_GATES_L1_ITEM_M], gru_weight_ih_l1_part[X_GATES_L1_ITEM_N];
      for (int i = 0; i < X_GATES_L1_ITEM_M; ++i)
        y_l0_part[i] = y_l0_tile[step][i * X_GATES_L1_THREADS_M + my_row];
      for (int j = 0; j < X_GATES_L1_ITEM_N; ++j)
        gru_weight_ih_l1_part[j] = gru_weight_ih_l1_tile[step][j * X_GATES_L1_THREADS_N + my_col];
      for (int i = 0; i < X_GATES_L1_ITEM_M; ++i)
        for (int j = 0; j < X_GATES_L1_ITEM_N; ++j)
          sum[i][j] += y_l0_part[i] * gru_weight_ih_l1_part[j];
    }
    barrier(CLK_LOCAL_MEM_FENCE);  // the tiles are filled again
  }

  for (int i = 0; i < X_GATES_L1_ITEM_M; ++i)
    for (int j = 0; j < X_GATES_L1_ITEM_N; ++j) {
      const int row = row_first + i * X_GATES_L1_THREADS_M + my_row;
      const int gate = col_first + j * X_GATES_L1_THREADS_N + my_col;
      if (row < T * B && gate < GATES) {
        x_gates_l1_biased[row * GATES + gate] = sum[i][j] + gru_bias_ih_l1[gate];
      }
    }
}

__kernel __attribute__((reqd_work_group_size(H_L1_THREADS, 1, 1)))
void h_l1_kernel(__global const float* restrict h0, __global float* restrict h_l1) {
  const int first = get_group_id(0) * (H_L1_THREADS * H_L1_ITEMS) + get_local_id(0);
#pragma unroll
  for (int part = 0; part < H_L1_ITEMS; ++part) {
    const int i = first + part * H_L1_THREADS;
    if (i < B * H) {
      h_l1[i] = h0[B * H + i];
    }
  }
}

#define H_GATES_L1_THREADS_M (H_GATES_L1_TILE_M / H_GATES_L1_ITEM_M)
#define H_GATES_L1_THREADS_N (H_GATES_L1_TILE_N / H_GATES_L1_ITEM_N)
#define H_GATES_L1_THREADS (H_GATES_L1_THREADS_M * H_GATES_L1_THREADS_N)

// A product of matrices: b walks the rows, gate the columns, the sum runs over k.
__kernel __attribute__((reqd_work_group_size(H_GATES_L1_THREADS, 1, 1)))
void h_gates_l1_kernel(__global const float* restrict gru_weight_hh_l1,
                       __global const float* restrict h_l1, __global float* restrict h_gates_l1) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float h_l1_tile[H_GATES_L1_TILE_K][H_GATES_L1_TILE_M + 1];
  __local float gru_weight_hh_l1_tile[H_GATES_L1_TILE_K][H_GATES_L1_TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * H_GATES_L1_TILE_N,
            row_first = get_group_id(1) * H_GATES_L1_TILE_M;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / H_GATES_L1_THREADS_N, my_col = thread % H_GATES_L1_THREADS_N;
  float sum[H_GATES_L1_ITEM_M][H_GATES_L1_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < H; depth_first += H_GATES_L1_TILE_K) {
    for (int e = thread; e < H_GATES_L1_TILE_M * H_GATES_L1_TILE_K; e += H_GATES_L1_THREADS) {
      const int line = e / H_GATES_L1_TILE_K, step = e % H_GATES_L1_TILE_K;
      const int b = row_first + line, k = depth_first + step;
      float value = 0.0f;
      if (b < B && k < H) {
        value = h_l1[b * H + k];
      }
      h_l1_tile[step][line] = value;
    }

    for (int e = thread; e < H_GATES_L1_TILE_N * H_GATES_L1_TILE_K; e += H_GATES_L1_THREADS) {
      const int line = e / H_GATES_L1_TILE_K, step = e % H_GATES_L1_TILE_K;
      const int gate = col_first + line, k = depth_first + step;
      float value = 0.0f;
      if (gate < GATES && k < H) {
        value = gru_weight_hh_l1[gate * H + k];
      }
      gru_weight_hh_l1_tile[step][line] = value;
    }

    barrier(CLK_LOCAL_MEM_FENCE);

#pragma unroll 4
    for (int step = 0; step < H_GATES_L1_TILE_K; ++step) {
      float h_l1_part[H_GATES_L1_ITEM_M], gru_weight_hh_l1_part[H_GATES_L1_ITEM_N];
      for (int i = 0; i < H_GATES_L1_ITEM_M; ++i)
        h_l1_part[i] = h_l1_tile[step][i * H_GATES_L1_THREADS_M + my_row];
      for (int j = 0; j < H_GATES_L1_ITEM_N; ++j)
        gru_weight_hh_l1_part[j] = gru_weight_hh_l1_tile[step][j * H_GATES_L1_THREADS_N + my_col];
      for (int i = 0; i < H_GATES_L1_ITEM_M; ++i)
        for (int j = 0; j < H_GATES_L1_ITEM_N; ++j)
          sum[i][j] += h_l1_part[i] * gru_weight_hh_l1_part[j];
    }
    barrier(CLK_LOCAL_MEM_FENCE);  // the tiles are filled again
  }

  for (int i = 0; i < H_GATES_L1_ITEM_M; ++i)
    for (int j = 0; j < H_GATES_L1_ITEM_N; ++j) {
      const int b = row_first + i * H_GATES_L1_THREADS_M + my_row;
      const int gate = col_first + j * H_GATES_L1_THREADS_N + my_col;
      if (b < B && gate < GATES) {
        h_gates_l1[b * GATES + gate] = sum[i][j];
      }
    }
}

__kernel __attribute__((reqd_work_group_size(H_NEXT_L1_THREADS, 1, 1)))
void h_next_l1_kernel(__global const float* restrict gru_bias_hh_l1,
                      __global const float* restrict x_gates_l1_biased,
                      const long x_gates_l1_biased_first,
                      __global const float* restrict h_gates_l1,
                      __global const float* restrict h_l1, __global float* restrict h_next_l1,
                      __global float* restrict y1, const long y1_first) {
  x_gates_l1_biased += x_gates_l1_biased_first;
  y1 += y1_first;
  const int first = get_group_id(0) * (H_NEXT_L1_THREADS * H_NEXT_L1_ITEMS) + get_local_id(0);
#pragma unroll
  for (int part = 0; part < H_NEXT_L1_ITEMS; ++part) {
    const int i = first + part * H_NEXT_L1_THREADS;
    if (i < B * H) {
      const int b = i / H;
      const int k = i % H;
      const float update = 1.0f / (1.0f + exp(-(x_gates_l1_biased[(b * 3 + 1) * H + k]
                                                + (h_gates_l1[(b * 3 + 1) * H + k]
                                                   + gru_bias_hh_l1[H + k]))));
      const float reset = 1.0f / (1.0f + exp(-(x_gates_l1_biased[b * 3 * H + k]
                                               + (h_gates_l1[b * 3 * H + k] + gru_bias_hh_l1[k]))));
      const float candidate = tanh(x_gates_l1_biased[(b * 3 + 2) * H + k]
                                   + reset * (h_gates_l1[(b * 3 + 2) * H + k]
                                              + gru_bias_hh_l1[2 * H + k]));
      const float state = (1.0f - update) * candidate + update * h_l1[i];
      h_next_l1[i] = state;
      y1[i] = state;
    }
  }
}

__kernel __attribute__((reqd_work_group_size(HN_THREADS, 1, 1)))
void hn_kernel(__global const float* restrict h_l0, __global const float* restrict h_l1,
               __global float* restrict y2) {
  const int first = get_group_id(0) * (HN_THREADS * HN_ITEMS) + get_local_id(0);
#pragma unroll
  for (int part = 0; part < HN_ITEMS; ++part) {
    const int i_index = first + part * HN_THREADS;
    if (i_index < 2 * B * H) {
      const int layer = i_index / (B * H);
      const int i = i_index % (B * H);
      y2[i_index] = layer == 0 ? h_l0[i] : h_l1[i];
    }
  }
}

// Sizes. Everything below follows from them.
#define N     32
#define C     64
#define H     56
#define W     56
#define K     64
#define R     3
#define S     3
#define PAD_H 1
#define PAD_W 1
#define P     56
#define Q     56
// Parameters of this variant.
#define TILE_M 64
#define TILE_N 128
#define TILE_K 32
#define ITEM_M 8
#define ITEM_N 8

#define THREADS_M (TILE_M / ITEM_M)
#define THREADS_N (TILE_N / ITEM_N)
#define THREADS (THREADS_M * THREADS_N)

// A product of matrices: k walks the rows, (n, p, q) the columns, the sum runs over (c, r, s).
__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void conv2d_kernel(__global const float* restrict x, __global const float* restrict weight,
                   __global float* restrict y) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float weight_tile[TILE_K][TILE_M + 1];
  __local float x_tile[TILE_K][TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * TILE_N, row_first = get_group_id(1) * TILE_M;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / THREADS_N, my_col = thread % THREADS_N;
  float sum[ITEM_M][ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < C * R * S; depth_first += TILE_K) {
    for (int e = thread; e < TILE_M * TILE_K; e += THREADS) {
      const int line = e / TILE_K, step = e % TILE_K;
      const int k = row_first + line, depth = depth_first + step;
      float value = 0.0f;
      if (k < K && depth < C * R * S) {
        value = weight[k * C * R * S + depth];
      }
      weight_tile[step][line] = value;
    }

    for (int e = thread; e < TILE_N * TILE_K; e += THREADS) {
      const int line = e % TILE_N, step = e / TILE_N;
      const int col = col_first + line, depth = depth_first + step;
      float value = 0.0f;
      if (col < N * P * Q && depth < C * R * S) {
        const int n = col / (P * Q);
        const int p = (col / Q) % P;
        const int q = col % Q;
        const int c = depth / (R * S);
        const int r = (depth / S) % R;
        const int s = depth % S;
        const int h = p + r - PAD_H;
        const int w = q + s - PAD_W;
        const bool inside = 0 <= h && h < H && 0 <= w && w < W;
        value = inside ? x[((n * C + c) * H + h) * W + w] : 0.0f;
      }
      x_tile[step][line] = value;
    }

    barrier(CLK_LOCAL_MEM_FENCE);

#pragma unroll 4
    for (int step = 0; step < TILE_K; ++step) {
      float weight_part[ITEM_M], x_part[ITEM_N];
      for (int i = 0; i < ITEM_M; ++i)
        weight_part[i] = weight_tile[step][i * THREADS_M + my_row];
      for (int j = 0; j < ITEM_N; ++j)
        x_part[j] = x_tile[step][j * THREADS_N + my_col];
      for (int i = 0; i < ITEM_M; ++i)
        for (int j = 0; j < ITEM_N; ++j) sum[i][j] += weight_part[i] * x_part[j];
    }
    barrier(CLK_LOCAL_MEM_FENCE);  // the tiles are filled again
  }

  for (int i = 0; i < ITEM_M; ++i)
    for (int j = 0; j < ITEM_N; ++j) {
      const int k = row_first + i * THREADS_M + my_row;
      const int col = col_first + j * THREADS_N + my_col;
      if (k < K && col < N * P * Q) {
        const int n = col / (P * Q);
        const int p = (col / Q) % P;
        const int q = col % Q;
        y[((n * K + k) * P + p) * Q + q] = sum[i][j];
      }
    }
}

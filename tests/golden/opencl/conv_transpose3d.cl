// Sizes. Everything below follows from them.
#define N        4
#define C        64
#define D        16
#define H        32
#define W        32
#define K        32
#define T        3
#define R        3
#define S        3
#define STRIDE_D 2
#define STRIDE_H 2
#define STRIDE_W 2
#define PAD_D    1
#define PAD_H    1
#define PAD_W    1
#define O        32
#define P        64
#define Q        64
// Parameters of this variant.
#define TILE_M 32
#define TILE_N 128
#define TILE_K 32
#define ITEM_M 8
#define ITEM_N 8

#define THREADS_M (TILE_M / ITEM_M)
#define THREADS_N (TILE_N / ITEM_N)
#define THREADS (THREADS_M * THREADS_N)

// A product of matrices: k walks the rows, (n, o, p, q) the columns, the sum runs over (c, t, r,
// s).
__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void conv_transpose3d_kernel(__global const float* restrict x,
                             __global const float* restrict weight, __global float* restrict y) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float weight_tile[TILE_K][TILE_M + 1];
  __local float x_tile[TILE_K][TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * TILE_N, row_first = get_group_id(1) * TILE_M;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / THREADS_N, my_col = thread % THREADS_N;
  float sum[ITEM_M][ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < C * T * R * S; depth_first += TILE_K) {
    for (int e = thread; e < TILE_M * TILE_K; e += THREADS) {
      const int line = e / TILE_K, step = e % TILE_K;
      const int k = row_first + line, depth = depth_first + step;
      float value = 0.0f;
      if (k < K && depth < C * T * R * S) {
        const int c = depth / (T * R * S);
        const int t = (depth / (R * S)) % T;
        const int r = (depth / S) % R;
        const int s = depth % S;
        value = weight[(((c * K + k) * T + t) * R + r) * S + s];
      }
      weight_tile[step][line] = value;
    }

    for (int e = thread; e < TILE_N * TILE_K; e += THREADS) {
      const int line = e % TILE_N, step = e / TILE_N;
      const int col = col_first + line, depth = depth_first + step;
      float value = 0.0f;
      if (col < N * O * P * Q && depth < C * T * R * S) {
        const int n = col / (O * P * Q);
        const int o = (col / (P * Q)) % O;
        const int p = (col / Q) % P;
        const int q = col % Q;
        const int c = depth / (T * R * S);
        const int t = (depth / (R * S)) % T;
        const int r = (depth / S) % R;
        const int s = depth % S;
        const int d = (o + PAD_D - t) / STRIDE_D;
        const int remainder = (o + PAD_D - t) % STRIDE_D;
        const int h = (p + PAD_H - r) / STRIDE_H;
        const int remainder2 = (p + PAD_H - r) % STRIDE_H;
        const int w = (q + PAD_W - s) / STRIDE_W;
        const int remainder3 = (q + PAD_W - s) % STRIDE_W;
        const bool inside = 0 <= d && d < D && remainder == 0 && 0 <= h && h < H && remainder2 == 0
                            && 0 <= w && w < W && remainder3 == 0;
        value = inside ? x[(((n * C + c) * D + d) * H + h) * W + w] : 0.0f;
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
      if (k < K && col < N * O * P * Q) {
        const int n = col / (O * P * Q);
        const int o = (col / (P * Q)) % O;
        const int p = (col / Q) % P;
        const int q = col % Q;
        y[(((n * K + k) * O + o) * P + p) * Q + q] = sum[i][j];
      }
    }
}

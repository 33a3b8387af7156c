// Sizes. Everything below follows from them.
#define M 4096
#define N 4096
#define K 4096
// Parameters of this variant.
#define TILE_M 128
#define TILE_N 128
#define TILE_K 32
#define ITEM_M 8
#define ITEM_N 8

#define THREADS_M (TILE_M / ITEM_M)
#define THREADS_N (TILE_N / ITEM_N)
#define THREADS (THREADS_M * THREADS_N)

// A product of matrices: m walks the rows, n the columns, the sum runs over k.
__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void matmul_kernel(__global const float* restrict a, __global const float* restrict b,
                   __global float* restrict y) {
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  __local float a_tile[TILE_K][TILE_M + 1];
  __local float b_tile[TILE_K][TILE_N + 1];
  const int thread = get_local_id(0);
  const int col_first = get_group_id(0) * TILE_N, row_first = get_group_id(1) * TILE_M;
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / THREADS_N, my_col = thread % THREADS_N;
  float sum[ITEM_M][ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < K; depth_first += TILE_K) {
    for (int e = thread; e < TILE_M * TILE_K; e += THREADS) {
      const int line = e / TILE_K, step = e % TILE_K;
      const int m = row_first + line, k = depth_first + step;
      float value = 0.0f;
      if (m < M && k < K) {
        value = a[m * K + k];
      }
      a_tile[step][line] = value;
    }

    for (int e = thread; e < TILE_N * TILE_K; e += THREADS) {
      const int line = e % TILE_N, step = e / TILE_N;
      const int n = col_first + line, k = depth_first + step;
      float value = 0.0f;
      if (n < N && k < K) {
        value = b[k * N + n];
      }
      b_tile[step][line] = value;
    }

    barrier(CLK_LOCAL_MEM_FENCE);

#pragma unroll 4
    for (int step = 0; step < TILE_K; ++step) {
      float a_part[ITEM_M], b_part[ITEM_N];
      for (int i = 0; i < ITEM_M; ++i)
        a_part[i] = a_tile[step][i * THREADS_M + my_row];
      for (int j = 0; j < ITEM_N; ++j)
        b_part[j] = b_tile[step][j * THREADS_N + my_col];
      for (int i = 0; i < ITEM_M; ++i)
        for (int j = 0; j < ITEM_N; ++j) sum[i][j] += a_part[i] * b_part[j];
    }
    barrier(CLK_LOCAL_MEM_FENCE);  // the tiles are filled again
  }

  for (int i = 0; i < ITEM_M; ++i)
    for (int j = 0; j < ITEM_N; ++j) {
      const int m = row_first + i * THREADS_M + my_row;
      const int n = col_first + j * THREADS_N + my_col;
      if (m < M && n < N) {
        y[m * N + n] = sum[i][j];
      }
    }
}

// SPDX-License-Identifier: Apache-2.0
// matmul, float32: a[M, K] @ b[K, N] -> c[M, N]; M = 1000, N = 1000, K = 1000.
// cpu. One work-group a 64x64 tile of c: 16x16 work-items, 4x4 values each, 8.5 KB of local memory.
// Evidence: record.json (emulated). Generator: mkgen 0.1.0, template c/matmul. Host launcher: matmul.c.

// Sizes. Everything below follows from them.
#define M 1000
#define N 1000
#define K 1000

// Parameters of this variant: tiles of a and b in local memory, a block of c in registers.
#define TILE_M 64
#define TILE_N 64
#define TILE_K 16
#define ITEMS_X 16
#define ITEMS_Y 16
#define ITEMS (ITEMS_X * ITEMS_Y)
#define BLOCK_M (TILE_M / ITEMS_Y)
#define BLOCK_N (TILE_N / ITEMS_X)
#define PAD 4  // the column of `a_tile` written by neighbouring work-items hits other banks

__kernel __attribute__((reqd_work_group_size(ITEMS_X, ITEMS_Y, 1)))
void matmul_kernel(__global const float* restrict a, __global const float* restrict b,
                   __global float* restrict c) {
  __local float a_tile[TILE_K][TILE_M + PAD];  // transposed: a_tile[k][m]
  __local float b_tile[TILE_K][TILE_N];
  const int x = get_local_id(0), y = get_local_id(1), item = y * ITEMS_X + x;
  const int row0 = get_group_id(1) * TILE_M, col0 = get_group_id(0) * TILE_N;
  float sum[BLOCK_M][BLOCK_N];
  for (int i = 0; i < BLOCK_M; ++i)
    for (int j = 0; j < BLOCK_N; ++j) sum[i][j] = 0.0f;

  for (int k0 = 0; k0 < K; k0 += TILE_K) {
    // Outside the matrices the tiles hold zeros, so that the product loop needs no guard.
    for (int i = item; i < TILE_M * TILE_K; i += ITEMS) {
      const int m = i / TILE_K, k = i % TILE_K;
      const bool inside = row0 + m < M && k0 + k < K;
      a_tile[k][m] = inside ? a[(size_t)(row0 + m) * K + k0 + k] : 0.0f;
    }
    for (int i = item; i < TILE_K * TILE_N; i += ITEMS) {
      const int k = i / TILE_N, n = i % TILE_N;
      const bool inside = k0 + k < K && col0 + n < N;
      b_tile[k][n] = inside ? b[(size_t)(k0 + k) * N + col0 + n] : 0.0f;
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    for (int k = 0; k < TILE_K; ++k) {
      float left[BLOCK_M], right[BLOCK_N];
      for (int i = 0; i < BLOCK_M; ++i) left[i] = a_tile[k][y * BLOCK_M + i];
      for (int j = 0; j < BLOCK_N; ++j) right[j] = b_tile[k][j * ITEMS_X + x];
      for (int i = 0; i < BLOCK_M; ++i)
        for (int j = 0; j < BLOCK_N; ++j) sum[i][j] = fma(left[i], right[j], sum[i][j]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);  // before the next round overwrites the tiles
  }

  for (int i = 0; i < BLOCK_M; ++i)
    for (int j = 0; j < BLOCK_N; ++j) {
      const int row = row0 + y * BLOCK_M + i, col = col0 + j * ITEMS_X + x;
      if (row < M && col < N) c[(size_t)row * N + col] = sum[i][j];
    }
}

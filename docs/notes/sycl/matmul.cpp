// SPDX-License-Identifier: Apache-2.0
// matmul, float32: a[M, K] @ b[K, N] -> c[M, N]; M = 1000, N = 1000, K = 1000.
// pvc (Data Center GPU Max). One work-group a 64x64 tile of c: 16x16 work-items, 4x4 values each, 8.5 KB of local memory.
// Evidence: record.json (emulated; not run on an Intel GPU). Generator: mkgen 0.1.0, template c/matmul.
#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int M = 1000, N = 1000, K = 1000;

// Parameters of this variant: tiles of a and b in local memory, a block of c in registers.
constexpr int TILE_M = 64, TILE_N = 64, TILE_K = 16;
constexpr int ITEMS_X = 16, ITEMS_Y = 16, ITEMS = ITEMS_X * ITEMS_Y;
constexpr int BLOCK_M = TILE_M / ITEMS_Y, BLOCK_N = TILE_N / ITEMS_X;
constexpr int GROUPS_X = (N + TILE_N - 1) / TILE_N, GROUPS_Y = (M + TILE_M - 1) / TILE_M;
constexpr int PAD = 4;  // the column of `a_tile` written by neighbouring work-items hits other banks
static_assert(TILE_M % ITEMS_Y == 0 && TILE_N % ITEMS_X == 0, "a work-item owns a whole block");

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<2>))
void matmul_kernel(const float* a, const float* b, float* c) {
  exp_::work_group_static<float[TILE_K * (TILE_M + PAD)]> a_tile;  // transposed: a_tile[k][m]
  exp_::work_group_static<float[TILE_K * TILE_N]> b_tile;          // b_tile[k][n]
  const auto item = oneapi::this_work_item::get_nd_item<2>();
  const auto group = item.get_group();
  const int x = item.get_local_id(1), y = item.get_local_id(0);
  const int linear = item.get_local_linear_id();
  const int row0 = item.get_group(0) * TILE_M, col0 = item.get_group(1) * TILE_N;
  float sum[BLOCK_M][BLOCK_N] = {};

  for (int k0 = 0; k0 < K; k0 += TILE_K) {
    // Outside the matrices the tiles hold zeros, so that the product loop needs no guard.
    for (int i = linear; i < TILE_M * TILE_K; i += ITEMS) {
      const int m = i / TILE_K, k = i % TILE_K;
      const bool inside = row0 + m < M && k0 + k < K;
      a_tile[k * (TILE_M + PAD) + m] = inside ? a[size_t(row0 + m) * K + k0 + k] : 0.0f;
    }
    for (int i = linear; i < TILE_K * TILE_N; i += ITEMS) {
      const int k = i / TILE_N, n = i % TILE_N;
      const bool inside = k0 + k < K && col0 + n < N;
      b_tile[k * TILE_N + n] = inside ? b[size_t(k0 + k) * N + col0 + n] : 0.0f;
    }
    sycl::group_barrier(group);

    for (int k = 0; k < TILE_K; ++k) {
      float left[BLOCK_M], right[BLOCK_N];
      for (int i = 0; i < BLOCK_M; ++i) left[i] = a_tile[k * (TILE_M + PAD) + y * BLOCK_M + i];
      for (int j = 0; j < BLOCK_N; ++j) right[j] = b_tile[k * TILE_N + j * ITEMS_X + x];
      for (int i = 0; i < BLOCK_M; ++i)
        for (int j = 0; j < BLOCK_N; ++j) sum[i][j] = sycl::fma(left[i], right[j], sum[i][j]);
    }
    sycl::group_barrier(group);  // before the next round overwrites the tiles
  }

  for (int i = 0; i < BLOCK_M; ++i)
    for (int j = 0; j < BLOCK_N; ++j) {
      const int row = row0 + y * BLOCK_M + i, col = col0 + j * ITEMS_X + x;
      if (row < M && col < N) c[size_t(row) * N + col] = sum[i][j];
    }
}

// Enqueues on `queue`; a, b and c are contiguous row-major USM arrays.
sycl::event matmul_f32(sycl::queue& queue, const float* a, const float* b, float* c) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<2> items(ITEMS_Y, ITEMS_X), groups(GROUPS_Y, GROUPS_X);
    exp_::nd_launch(handler, sycl::nd_range<2>(groups * items, items),
                    exp_::kernel_function<matmul_kernel>, a, b, c);
  });
}

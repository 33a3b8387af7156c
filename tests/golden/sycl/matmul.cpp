#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int M = 4096, N = 4096, K = 4096;
// Parameters of this variant.
constexpr int TILE_M = 128, TILE_N = 128, TILE_K = 32, ITEM_M = 8, ITEM_N = 8;

constexpr int THREADS_M = TILE_M / ITEM_M;
constexpr int THREADS_N = TILE_N / ITEM_N;
constexpr int THREADS = THREADS_M * THREADS_N;

// A product of matrices: m walks the rows, n the columns, the sum runs over k.
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void matmul_kernel(const float* a, const float* b, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[TILE_K][TILE_M + 1]> a_tile;
  exp_::work_group_static<float[TILE_K][TILE_N + 1]> b_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * TILE_N, row_first = item.get_group(1) * TILE_M;
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

    item.barrier(sycl::access::fence_space::local_space);

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
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
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

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event matmul_f32(sycl::queue& queue, const float* a, const float* b, float* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<3> groups(1, (M + TILE_M - 1) / TILE_M, (N + TILE_N - 1) / TILE_N);
    const sycl::range<3> items(1, 1, (TILE_M / ITEM_M) * (TILE_N / ITEM_N));
    exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                    exp_::kernel_function<matmul_kernel>, a, b, y);
  });
}

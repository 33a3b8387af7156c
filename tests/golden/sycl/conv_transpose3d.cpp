#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int N = 4, C = 64, D = 16, H = 32, W = 32, K = 32, T = 3, R = 3, S = 3;
constexpr int STRIDE_D = 2, STRIDE_H = 2, STRIDE_W = 2, PAD_D = 1, PAD_H = 1, PAD_W = 1;
constexpr int O = 32, P = 64, Q = 64;
// Parameters of this variant.
constexpr int TILE_M = 32, TILE_N = 128, TILE_K = 32, ITEM_M = 8, ITEM_N = 8;

constexpr int THREADS_M = TILE_M / ITEM_M;
constexpr int THREADS_N = TILE_N / ITEM_N;
constexpr int THREADS = THREADS_M * THREADS_N;

// A product of matrices: k walks the rows, (n, o, p, q) the columns, the sum runs over (c, t, r,
// s).
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void conv_transpose3d_kernel(const float* x, const float* weight, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[TILE_K][TILE_M + 1]> weight_tile;
  exp_::work_group_static<float[TILE_K][TILE_N + 1]> x_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * TILE_N, row_first = item.get_group(1) * TILE_M;
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

    item.barrier(sycl::access::fence_space::local_space);

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
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
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

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event conv_transpose3d_f32(sycl::queue& queue, const float* x, const float* weight,
                                 float* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<3> groups(1, (K + TILE_M - 1) / TILE_M,
                                (N * O * P * Q + TILE_N - 1) / TILE_N);
    const sycl::range<3> items(1, 1, (TILE_M / ITEM_M) * (TILE_N / ITEM_N));
    exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                    exp_::kernel_function<conv_transpose3d_kernel>, x, weight, y);
  });
}

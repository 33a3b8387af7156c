#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int N = 32, C = 64, K = 128, H = 56, W = 56, PAD_H = 1, PAD_W = 1, P = 56, Q = 56;
// Parameters of this variant.
constexpr int CONV2D_TILE_M = 128, CONV2D_TILE_N = 128, CONV2D_TILE_K = 32;
constexpr int CONV2D_ITEM_M = 8, CONV2D_ITEM_N = 8;
constexpr int RELU_THREADS = 512;
constexpr int BATCH_COUNT_THREADS = 128, BATCH_COUNT_ITEMS = 1;

constexpr int CONV2D_THREADS_M = CONV2D_TILE_M / CONV2D_ITEM_M;
constexpr int CONV2D_THREADS_N = CONV2D_TILE_N / CONV2D_ITEM_N;
constexpr int CONV2D_THREADS = CONV2D_THREADS_M * CONV2D_THREADS_N;

// A product of matrices: k walks the rows, (n, p, q) the columns, the sum runs over (c, r, s).
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void conv2d_kernel(const float* conv_weight, const float* x, float* conv2d) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[CONV2D_TILE_K][CONV2D_TILE_M + 1]> conv_weight_tile;
  exp_::work_group_static<float[CONV2D_TILE_K][CONV2D_TILE_N + 1]> x_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * CONV2D_TILE_N,
            row_first = item.get_group(1) * CONV2D_TILE_M;
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

    item.barrier(sycl::access::fence_space::local_space);

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
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
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

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void relu_kernel(const float* conv_bias, const float* norm_weight, const float* norm_bias,
                 float* norm_running_mean, float* norm_running_var, const float* conv2d, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int thread = item.get_local_linear_id();
  const int k = item.get_group(0);

  float total = 0.0f;
  for (int col = thread; col < N * P * Q; col += RELU_THREADS) {
    const int n = col / (P * Q);
    const int i = col % (P * Q);
    total += conv2d[(n * K + k) * P * Q + i] + conv_bias[k];
  }

  total = sycl::reduce_over_group(item.get_group(), total, sycl::plus<>());
  const float mean = total / (float)(N * P * Q);

  float squares = 0.0f;
  for (int col = thread; col < N * P * Q; col += RELU_THREADS) {
    const int n = col / (P * Q);
    const int i = col % (P * Q);
    const float centered = conv2d[(n * K + k) * P * Q + i] + conv_bias[k] - mean;
    squares += centered * centered;
  }

  squares = sycl::reduce_over_group(item.get_group(), squares, sycl::plus<>());
  const float inverse_deviation = sycl::rsqrt(squares / (float)(N * P * Q) + 1e-05f);

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

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void batch_count_kernel(long long* norm_num_batches_tracked) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int first = item.get_group(0) * (BATCH_COUNT_THREADS * BATCH_COUNT_ITEMS)
                    + item.get_local_linear_id();
#pragma unroll
  for (int part = 0; part < BATCH_COUNT_ITEMS; ++part) {
    const int i = first + part * BATCH_COUNT_THREADS;
    if (i < 1) {
      norm_num_batches_tracked[0] = norm_num_batches_tracked[0] + 1;
    }
  }
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event conv2d_bn_train_relu_f32(sycl::queue& queue, const float* conv_weight,
                                     const float* conv_bias, const float* norm_weight,
                                     const float* norm_bias, float* norm_running_mean,
                                     float* norm_running_var, long long* norm_num_batches_tracked,
                                     const float* x, float* y, float* conv2d) {
  const auto step1 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<3> groups(1, (K + CONV2D_TILE_M - 1) / CONV2D_TILE_M,
                                (N * P * Q + CONV2D_TILE_N - 1) / CONV2D_TILE_N);
    const sycl::range<3> items(1, 1, (CONV2D_TILE_M / CONV2D_ITEM_M)
                                     * (CONV2D_TILE_N / CONV2D_ITEM_N));
    exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                    exp_::kernel_function<conv2d_kernel>, conv_weight, x, conv2d);
  });
  const auto step2 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step1);
    const sycl::range<1> groups(K);
    const sycl::range<1> items(RELU_THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<relu_kernel>, conv_bias, norm_weight, norm_bias,
                    norm_running_mean, norm_running_var, conv2d, y);
  });
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step2);
    const sycl::range<1> groups(1);
    const sycl::range<1> items(BATCH_COUNT_THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<batch_count_kernel>, norm_num_batches_tracked);
  });
}

#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int T = 128, B = 64, I = 256, H = 512, GATES = 1536;
// Parameters of this variant.
constexpr int X_GATES_L0_TILE_M = 128, X_GATES_L0_TILE_N = 128, X_GATES_L0_TILE_K = 32;
constexpr int X_GATES_L0_ITEM_M = 4, X_GATES_L0_ITEM_N = 8;
constexpr int H_L0_THREADS = 512, H_L0_ITEMS = 1;
constexpr int H_GATES_L0_TILE_M = 64, H_GATES_L0_TILE_N = 128, H_GATES_L0_TILE_K = 32;
constexpr int H_GATES_L0_ITEM_M = 8, H_GATES_L0_ITEM_N = 8;
constexpr int H_NEXT_L0_THREADS = 512, H_NEXT_L0_ITEMS = 1;
constexpr int X_GATES_L1_TILE_M = 128, X_GATES_L1_TILE_N = 128, X_GATES_L1_TILE_K = 32;
constexpr int X_GATES_L1_ITEM_M = 4, X_GATES_L1_ITEM_N = 8;
constexpr int H_L1_THREADS = 512, H_L1_ITEMS = 1;
constexpr int H_GATES_L1_TILE_M = 64, H_GATES_L1_TILE_N = 128, H_GATES_L1_TILE_K = 32;
constexpr int H_GATES_L1_ITEM_M = 8, H_GATES_L1_ITEM_N = 8;
constexpr int H_NEXT_L1_THREADS = 512, H_NEXT_L1_ITEMS = 1;
constexpr int HN_THREADS = 512, HN_ITEMS = 1;

constexpr int X_GATES_L0_THREADS_M = X_GATES_L0_TILE_M / X_GATES_L0_ITEM_M;
constexpr int X_GATES_L0_THREADS_N = X_GATES_L0_TILE_N / X_GATES_L0_ITEM_N;
constexpr int X_GATES_L0_THREADS = X_GATES_L0_THREADS_M * X_GATES_L0_THREADS_N;

// A product of matrices: (t, b) walks the rows, gate the columns, the sum runs over i.
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void x_gates_l0_kernel(const float* gru_weight_ih_l0, const float* gru_bias_ih_l0, const float* x,
                       float* x_gates_l0_biased) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[X_GATES_L0_TILE_K][X_GATES_L0_TILE_M + 1]> x_tile;
  exp_::work_group_static<float[X_GATES_L0_TILE_K][X_GATES_L0_TILE_N + 1]> gru_weight_ih_l0_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * X_GATES_L0_TILE_N,
            row_first = item.get_group(1) * X_GATES_L0_TILE_M;
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

    item.barrier(sycl::access::fence_space::local_space);

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
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
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

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void h_l0_kernel(const float* h0, float* h_l0) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int first = item.get_group(0) * (H_L0_THREADS * H_L0_ITEMS) + item.get_local_linear_id();
#pragma unroll
  for (int part = 0; part < H_L0_ITEMS; ++part) {
    const int i = first + part * H_L0_THREADS;
    if (i < B * H) {
      h_l0[i] = h0[i];
    }
  }
}

constexpr int H_GATES_L0_THREADS_M = H_GATES_L0_TILE_M / H_GATES_L0_ITEM_M;
constexpr int H_GATES_L0_THREADS_N = H_GATES_L0_TILE_N / H_GATES_L0_ITEM_N;
constexpr int H_GATES_L0_THREADS = H_GATES_L0_THREADS_M * H_GATES_L0_THREADS_N;

// A product of matrices: b walks the rows, gate the columns, the sum runs over k.
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void h_gates_l0_kernel(const float* gru_weight_hh_l0, const float* h_l0, float* h_gates_l0) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[H_GATES_L0_TILE_K][H_GATES_L0_TILE_M + 1]> h_l0_tile;
  exp_::work_group_static<float[H_GATES_L0_TILE_K][H_GATES_L0_TILE_N + 1]> gru_weight_hh_l0_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * H_GATES_L0_TILE_N,
            row_first = item.get_group(1) * H_GATES_L0_TILE_M;
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

    item.barrier(sycl::access::fence_space::local_space);

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
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
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

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void h_next_l0_kernel(const float* gru_bias_hh_l0, const float* x_gates_l0_biased,
                      const float* h_gates_l0, const float* h_l0, float* h_next_l0, float* y_l0) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int first = item.get_group(0) * (H_NEXT_L0_THREADS * H_NEXT_L0_ITEMS)
                    + item.get_local_linear_id();
#pragma unroll
  for (int part = 0; part < H_NEXT_L0_ITEMS; ++part) {
    const int i = first + part * H_NEXT_L0_THREADS;
    if (i < B * H) {
      const int b = i / H;
      const int k = i % H;
      const float update = 1.0f / (1.0f + sycl::exp(-(x_gates_l0_biased[(b * 3 + 1) * H + k]
                                                      + (h_gates_l0[(b * 3 + 1) * H + k]
                                                         + gru_bias_hh_l0[H + k]))));
      const float reset = 1.0f / (1.0f + sycl::exp(-(x_gates_l0_biased[b * 3 * H + k]
                                                     + (h_gates_l0[b * 3 * H + k]
                                                        + gru_bias_hh_l0[k]))));
      const float candidate = sycl::tanh(x_gates_l0_biased[(b * 3 + 2) * H + k]
                                         + reset * (h_gates_l0[(b * 3 + 2) * H + k]
                                                    + gru_bias_hh_l0[2 * H + k]));
      const float state = (1.0f - update) * candidate + update * h_l0[i];
      h_next_l0[i] = state;
      y_l0[i] = state;
    }
  }
}

constexpr int X_GATES_L1_THREADS_M = X_GATES_L1_TILE_M / X_GATES_L1_ITEM_M;
constexpr int X_GATES_L1_THREADS_N = X_GATES_L1_TILE_N / X_GATES_L1_ITEM_N;
constexpr int X_GATES_L1_THREADS = X_GATES_L1_THREADS_M * X_GATES_L1_THREADS_N;

// A product of matrices: (t, b) walks the rows, gate the columns, the sum runs over i.
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void x_gates_l1_kernel(const float* gru_weight_ih_l1, const float* gru_bias_ih_l1,
                       const float* y_l0, float* x_gates_l1_biased) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[X_GATES_L1_TILE_K][X_GATES_L1_TILE_M + 1]> y_l0_tile;
  exp_::work_group_static<float[X_GATES_L1_TILE_K][X_GATES_L1_TILE_N + 1]> gru_weight_ih_l1_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * X_GATES_L1_TILE_N,
            row_first = item.get_group(1) * X_GATES_L1_TILE_M;
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

    item.barrier(sycl::access::fence_space::local_space);

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
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
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

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void h_l1_kernel(const float* h0, float* h_l1) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int first = item.get_group(0) * (H_L1_THREADS * H_L1_ITEMS) + item.get_local_linear_id();
#pragma unroll
  for (int part = 0; part < H_L1_ITEMS; ++part) {
    const int i = first + part * H_L1_THREADS;
    if (i < B * H) {
      h_l1[i] = h0[B * H + i];
    }
  }
}

constexpr int H_GATES_L1_THREADS_M = H_GATES_L1_TILE_M / H_GATES_L1_ITEM_M;
constexpr int H_GATES_L1_THREADS_N = H_GATES_L1_TILE_N / H_GATES_L1_ITEM_N;
constexpr int H_GATES_L1_THREADS = H_GATES_L1_THREADS_M * H_GATES_L1_THREADS_N;

// A product of matrices: b walks the rows, gate the columns, the sum runs over k.
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void h_gates_l1_kernel(const float* gru_weight_hh_l1, const float* h_l1, float* h_gates_l1) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[H_GATES_L1_TILE_K][H_GATES_L1_TILE_M + 1]> h_l1_tile;
  exp_::work_group_static<float[H_GATES_L1_TILE_K][H_GATES_L1_TILE_N + 1]> gru_weight_hh_l1_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * H_GATES_L1_TILE_N,
            row_first = item.get_group(1) * H_GATES_L1_TILE_M;
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

    item.barrier(sycl::access::fence_space::local_space);

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
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
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

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void h_next_l1_kernel(const float* gru_bias_hh_l1, const float* x_gates_l1_biased,
                      const float* h_gates_l1, const float* h_l1, float* h_next_l1, float* y1) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int first = item.get_group(0) * (H_NEXT_L1_THREADS * H_NEXT_L1_ITEMS)
                    + item.get_local_linear_id();
#pragma unroll
  for (int part = 0; part < H_NEXT_L1_ITEMS; ++part) {
    const int i = first + part * H_NEXT_L1_THREADS;
    if (i < B * H) {
      const int b = i / H;
      const int k = i % H;
      const float update = 1.0f / (1.0f + sycl::exp(-(x_gates_l1_biased[(b * 3 + 1) * H + k]
                                                      + (h_gates_l1[(b * 3 + 1) * H + k]
                                                         + gru_bias_hh_l1[H + k]))));
      const float reset = 1.0f / (1.0f + sycl::exp(-(x_gates_l1_biased[b * 3 * H + k]
                                                     + (h_gates_l1[b * 3 * H + k]
                                                        + gru_bias_hh_l1[k]))));
      const float candidate = sycl::tanh(x_gates_l1_biased[(b * 3 + 2) * H + k]
                                         + reset * (h_gates_l1[(b * 3 + 2) * H + k]
                                                    + gru_bias_hh_l1[2 * H + k]));
      const float state = (1.0f - update) * candidate + update * h_l1[i];
      h_next_l1[i] = state;
      y1[i] = state;
    }
  }
}

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void hn_kernel(const float* h_l0, const float* h_l1, float* y2) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int first = item.get_group(0) * (HN_THREADS * HN_ITEMS) + item.get_local_linear_id();
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

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event gru_2layer_f32(sycl::queue& queue, const float* gru_weight_ih_l0,
                           const float* gru_weight_hh_l0, const float* gru_bias_ih_l0,
                           const float* gru_bias_hh_l0, const float* gru_weight_ih_l1,
                           const float* gru_weight_hh_l1, const float* gru_bias_ih_l1,
                           const float* gru_bias_hh_l1, const float* x, const float* h0, float* y1,
                           float* y2, float* x_gates_l0_biased, float* h_l0, float* h_gates_l0,
                           float* h_next_l0, float* y_l0, float* x_gates_l1_biased, float* h_l1,
                           float* h_gates_l1, float* h_next_l1) {
  sycl::event done;
  done = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(done);
    const sycl::range<3> groups(1, (T * B + X_GATES_L0_TILE_M - 1) / X_GATES_L0_TILE_M,
                                (GATES + X_GATES_L0_TILE_N - 1) / X_GATES_L0_TILE_N);
    const sycl::range<3> items(1, 1, (X_GATES_L0_TILE_M / X_GATES_L0_ITEM_M)
                                     * (X_GATES_L0_TILE_N / X_GATES_L0_ITEM_N));
    exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                    exp_::kernel_function<x_gates_l0_kernel>, gru_weight_ih_l0, gru_bias_ih_l0, x,
                    x_gates_l0_biased);
  });
  done = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(done);
    const sycl::range<1> groups((B * H + H_L0_THREADS * H_L0_ITEMS - 1)
                                / (H_L0_THREADS * H_L0_ITEMS));
    const sycl::range<1> items(H_L0_THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<h_l0_kernel>, h0, h_l0);
  });
  for (int t = 0; t < T; ++t) {
    done = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
      handler.depends_on(done);
      const sycl::range<3> groups(1, (B + H_GATES_L0_TILE_M - 1) / H_GATES_L0_TILE_M,
                                  (GATES + H_GATES_L0_TILE_N - 1) / H_GATES_L0_TILE_N);
      const sycl::range<3> items(1, 1, (H_GATES_L0_TILE_M / H_GATES_L0_ITEM_M)
                                       * (H_GATES_L0_TILE_N / H_GATES_L0_ITEM_N));
      exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                      exp_::kernel_function<h_gates_l0_kernel>, gru_weight_hh_l0, h_l0, h_gates_l0);
    });
    done = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
      handler.depends_on(done);
      const sycl::range<1> groups((B * H + H_NEXT_L0_THREADS * H_NEXT_L0_ITEMS - 1)
                                  / (H_NEXT_L0_THREADS * H_NEXT_L0_ITEMS));
      const sycl::range<1> items(H_NEXT_L0_THREADS);
      exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                      exp_::kernel_function<h_next_l0_kernel>, gru_bias_hh_l0,
                      x_gates_l0_biased + t * (B * GATES), h_gates_l0, h_l0, h_next_l0,
                      y_l0 + t * (B * H));
    });
    // What this round wrote is what the next one reads.
    float* const h_l0_before = h_l0;
    h_l0 = h_next_l0;
    h_next_l0 = h_l0_before;
  }
  done = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(done);
    const sycl::range<3> groups(1, (T * B + X_GATES_L1_TILE_M - 1) / X_GATES_L1_TILE_M,
                                (GATES + X_GATES_L1_TILE_N - 1) / X_GATES_L1_TILE_N);
    const sycl::range<3> items(1, 1, (X_GATES_L1_TILE_M / X_GATES_L1_ITEM_M)
                                     * (X_GATES_L1_TILE_N / X_GATES_L1_ITEM_N));
    exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                    exp_::kernel_function<x_gates_l1_kernel>, gru_weight_ih_l1, gru_bias_ih_l1,
                    y_l0, x_gates_l1_biased);
  });
  done = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(done);
    const sycl::range<1> groups((B * H + H_L1_THREADS * H_L1_ITEMS - 1)
                                / (H_L1_THREADS * H_L1_ITEMS));
    const sycl::range<1> items(H_L1_THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<h_l1_kernel>, h0, h_l1);
  });
  for (int t = 0; t < T; ++t) {
    done = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
      handler.depends_on(done);
      const sycl::range<3> groups(1, (B + H_GATES_L1_TILE_M - 1) / H_GATES_L1_TILE_M,
                                  (GATES + H_GATES_L1_TILE_N - 1) / H_GATES_L1_TILE_N);
      const sycl::range<3> items(1, 1, (H_GATES_L1_TILE_M / H_GATES_L1_ITEM_M)
                                       * (H_GATES_L1_TILE_N / H_GATES_L1_ITEM_N));
      exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                      exp_::kernel_function<h_gates_l1_kernel>, gru_weight_hh_l1, h_l1, h_gates_l1);
    });
    done = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
      handler.depends_on(done);
      const sycl::range<1> groups((B * H + H_NEXT_L1_THREADS * H_NEXT_L1_ITEMS - 1)
                                  / (H_NEXT_L1_THREADS * H_NEXT_L1_ITEMS));
      const sycl::range<1> items(H_NEXT_L1_THREADS);
      exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                      exp_::kernel_function<h_next_l1_kernel>, gru_bias_hh_l1,
                      x_gates_l1_biased + t * (B * GATES), h_gates_l1, h_l1, h_next_l1,
                      y1 + t * (B * H));
    });
    // What this round wrote is what the next one reads.
    float* const h_l1_before = h_l1;
    h_l1 = h_next_l1;
    h_next_l1 = h_l1_before;
  }
  done = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(done);
    const sycl::range<1> groups((2 * B * H + HN_THREADS * HN_ITEMS - 1) / (HN_THREADS * HN_ITEMS));
    const sycl::range<1> items(HN_THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<hn_kernel>, h_l0, h_l1, y2);
  });
  return done;
}

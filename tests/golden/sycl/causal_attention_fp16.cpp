#include <limits>
#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int B = 4, H = 16, T = 1024, D = 64;
// Parameters of this variant.
constexpr int SCORES_TILE_M = 128, SCORES_TILE_N = 128, SCORES_TILE_K = 32;
constexpr int SCORES_ITEM_M = 8, SCORES_ITEM_N = 8;
constexpr int WEIGHTS_THREADS = 64;
constexpr int ATTENTION_TILE_M = 128, ATTENTION_TILE_N = 64, ATTENTION_TILE_K = 32;
constexpr int ATTENTION_ITEM_M = 4, ATTENTION_ITEM_N = 8;

constexpr float INFINITE = std::numeric_limits<float>::infinity();

// The larger of two; NaN wins, as in PyTorch.
inline float maximum(float a, float b) { return b > a || b != b ? b : a; }

constexpr int SCORES_THREADS_M = SCORES_TILE_M / SCORES_ITEM_M;
constexpr int SCORES_THREADS_N = SCORES_TILE_N / SCORES_ITEM_N;
constexpr int SCORES_THREADS = SCORES_THREADS_M * SCORES_THREADS_N;

// A product of matrices: t walks the rows, tt the columns, the sum runs over d.
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void scores_kernel(const sycl::half* q, const sycl::half* k, float* scores) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[SCORES_TILE_K][SCORES_TILE_M + 1]> q_tile;
  exp_::work_group_static<float[SCORES_TILE_K][SCORES_TILE_N + 1]> k_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * SCORES_TILE_N,
            row_first = item.get_group(1) * SCORES_TILE_M;
  const int batch = item.get_group(0);
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / SCORES_THREADS_N, my_col = thread % SCORES_THREADS_N;
  float sum[SCORES_ITEM_M][SCORES_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < D; depth_first += SCORES_TILE_K) {
    for (int e = thread; e < SCORES_TILE_M * SCORES_TILE_K; e += SCORES_THREADS) {
      const int line = e / SCORES_TILE_K, step = e % SCORES_TILE_K;
      const int t = row_first + line, d = depth_first + step;
      float value = 0.0f;
      if (t < T && d < D) {
        value = static_cast<float>(q[(batch * T + t) * D + d]);
      }
      q_tile[step][line] = value;
    }

    for (int e = thread; e < SCORES_TILE_N * SCORES_TILE_K; e += SCORES_THREADS) {
      const int line = e / SCORES_TILE_K, step = e % SCORES_TILE_K;
      const int tt = col_first + line, d = depth_first + step;
      float value = 0.0f;
      if (tt < T && d < D) {
        value = static_cast<float>(k[(batch * T + tt) * D + d]);
      }
      k_tile[step][line] = value;
    }

    item.barrier(sycl::access::fence_space::local_space);

#pragma unroll 4
    for (int step = 0; step < SCORES_TILE_K; ++step) {
      float q_part[SCORES_ITEM_M], k_part[SCORES_ITEM_N];
      for (int i = 0; i < SCORES_ITEM_M; ++i)
        q_part[i] = q_tile[step][i * SCORES_THREADS_M + my_row];
      for (int j = 0; j < SCORES_ITEM_N; ++j)
        k_part[j] = k_tile[step][j * SCORES_THREADS_N + my_col];
      for (int i = 0; i < SCORES_ITEM_M; ++i)
        for (int j = 0; j < SCORES_ITEM_N; ++j) sum[i][j] += q_part[i] * k_part[j];
    }
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
  }

  for (int i = 0; i < SCORES_ITEM_M; ++i)
    for (int j = 0; j < SCORES_ITEM_N; ++j) {
      const int t = row_first + i * SCORES_THREADS_M + my_row;
      const int tt = col_first + j * SCORES_THREADS_N + my_col;
      if (t < T && tt < T) {
        scores[(batch * T + t) * T + tt] = sum[i][j];
      }
    }
}

constexpr int WEIGHTS_VALUES = (T + WEIGHTS_THREADS - 1) / WEIGHTS_THREADS;  // columns of a thread

// The largest of `value` over the work-group; every thread gets it.
inline float workgroup_max(float value, float* scratch, int threads) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int thread = item.get_local_linear_id();
  scratch[thread] = value;
  item.barrier(sycl::access::fence_space::local_space);
  for (int count = threads / 2; count > 0; count /= 2) {
    if (thread < count) {
      const float other = scratch[thread + count];
      scratch[thread] = maximum(scratch[thread], other);
    }
    item.barrier(sycl::access::fence_space::local_space);
  }
  value = scratch[0];
  item.barrier(sycl::access::fence_space::local_space);  // scratch may be written again
  return value;
}

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void weights_kernel(const float* scores, float* weights) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  exp_::work_group_static<float[WEIGHTS_THREADS]> scratch;
  const int thread = item.get_local_linear_id();
  const int row = item.get_group(0);
  const int t = row % T;
  float masked[WEIGHTS_VALUES];
  float weight[WEIGHTS_VALUES];

  float highest = -INFINITE;
#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      masked[part] = tt <= t ? scores[row * T + tt] * sycl::rsqrt((float)D) : -INFINITE;
      highest = maximum(highest, masked[part]);
    }
  }

  highest = workgroup_max(highest, scratch, WEIGHTS_THREADS);

  float total = 0.0f;
#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      weight[part] = sycl::exp(masked[part] - highest);
      total += weight[part];
    }
  }

  total = sycl::reduce_over_group(item.get_group(), total, sycl::plus<>());

#pragma unroll
  for (int part = 0; part < WEIGHTS_VALUES; ++part) {
    const int tt = part * WEIGHTS_THREADS + thread;
    if (tt < T) {
      weights[row * T + tt] = weight[part] / total;
    }
  }
}

constexpr int ATTENTION_THREADS_M = ATTENTION_TILE_M / ATTENTION_ITEM_M;
constexpr int ATTENTION_THREADS_N = ATTENTION_TILE_N / ATTENTION_ITEM_N;
constexpr int ATTENTION_THREADS = ATTENTION_THREADS_M * ATTENTION_THREADS_N;

// A product of matrices: t walks the rows, d the columns, the sum runs over tt.
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void attention_kernel(const sycl::half* v, const float* weights, sycl::half* y) {
  const auto item = oneapi::this_work_item::get_nd_item<3>();
  // Depth first, so that a thread reads neighbouring words; one word of padding spreads the banks.
  exp_::work_group_static<float[ATTENTION_TILE_K][ATTENTION_TILE_M + 1]> weights_tile;
  exp_::work_group_static<float[ATTENTION_TILE_K][ATTENTION_TILE_N + 1]> v_tile;
  const int thread = item.get_local_linear_id();
  const int col_first = item.get_group(2) * ATTENTION_TILE_N,
            row_first = item.get_group(1) * ATTENTION_TILE_M;
  const int batch = item.get_group(0);
  // Results of a thread lie a stride apart: neighbours in a sub-group write neighbouring columns.
  const int my_row = thread / ATTENTION_THREADS_N, my_col = thread % ATTENTION_THREADS_N;
  float sum[ATTENTION_ITEM_M][ATTENTION_ITEM_N] = {0.0f};

  for (int depth_first = 0; depth_first < T; depth_first += ATTENTION_TILE_K) {
    for (int e = thread; e < ATTENTION_TILE_M * ATTENTION_TILE_K; e += ATTENTION_THREADS) {
      const int line = e / ATTENTION_TILE_K, step = e % ATTENTION_TILE_K;
      const int t = row_first + line, tt = depth_first + step;
      float value = 0.0f;
      if (t < T && tt < T) {
        value = weights[(batch * T + t) * T + tt];
      }
      weights_tile[step][line] = value;
    }

    for (int e = thread; e < ATTENTION_TILE_N * ATTENTION_TILE_K; e += ATTENTION_THREADS) {
      const int line = e % ATTENTION_TILE_N, step = e / ATTENTION_TILE_N;
      const int d = col_first + line, tt = depth_first + step;
      float value = 0.0f;
      if (d < D && tt < T) {
        value = static_cast<float>(v[(batch * T + tt) * D + d]);
      }
      v_tile[step][line] = value;
    }

    item.barrier(sycl::access::fence_space::local_space);

#pragma unroll 4
    for (int step = 0; step < ATTENTION_TILE_K; ++step) {
      float weights_part[ATTENTION_ITEM_M], v_part[ATTENTION_ITEM_N];
      for (int i = 0; i < ATTENTION_ITEM_M; ++i)
        weights_part[i] = weights_tile[step][i * ATTENTION_THREADS_M + my_row];
      for (int j = 0; j < ATTENTION_ITEM_N; ++j)
        v_part[j] = v_tile[step][j * ATTENTION_THREADS_N + my_col];
      for (int i = 0; i < ATTENTION_ITEM_M; ++i)
        for (int j = 0; j < ATTENTION_ITEM_N; ++j) sum[i][j] += weights_part[i] * v_part[j];
    }
    item.barrier(sycl::access::fence_space::local_space);  // the tiles are filled again
  }

  for (int i = 0; i < ATTENTION_ITEM_M; ++i)
    for (int j = 0; j < ATTENTION_ITEM_N; ++j) {
      const int t = row_first + i * ATTENTION_THREADS_M + my_row;
      const int d = col_first + j * ATTENTION_THREADS_N + my_col;
      if (t < T && d < D) {
        y[(batch * T + t) * D + d] = static_cast<sycl::half>(sum[i][j]);
      }
    }
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event causal_attention_fp16_f16(sycl::queue& queue, const sycl::half* q, const sycl::half* k,
                                      const sycl::half* v, sycl::half* y, float* scores,
                                      float* weights) {
  const auto step1 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<3> groups(B * H, (T + SCORES_TILE_M - 1) / SCORES_TILE_M,
                                (T + SCORES_TILE_N - 1) / SCORES_TILE_N);
    const sycl::range<3> items(1, 1, (SCORES_TILE_M / SCORES_ITEM_M)
                                     * (SCORES_TILE_N / SCORES_ITEM_N));
    exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                    exp_::kernel_function<scores_kernel>, q, k, scores);
  });
  const auto step2 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step1);
    const sycl::range<1> groups(B * H * T);
    const sycl::range<1> items(WEIGHTS_THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<weights_kernel>, scores, weights);
  });
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step2);
    const sycl::range<3> groups(B * H, (T + ATTENTION_TILE_M - 1) / ATTENTION_TILE_M,
                                (D + ATTENTION_TILE_N - 1) / ATTENTION_TILE_N);
    const sycl::range<3> items(1, 1, (ATTENTION_TILE_M / ATTENTION_ITEM_M)
                                     * (ATTENTION_TILE_N / ATTENTION_ITEM_N));
    exp_::nd_launch(handler, sycl::nd_range<3>(groups * items, items),
                    exp_::kernel_function<attention_kernel>, v, weights, y);
  });
}

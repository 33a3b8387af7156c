#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int ROWS = 8192, COLS = 4096;
// Parameters of this variant.
constexpr int THREADS = 128;

constexpr int VALUES = (COLS + THREADS - 1) / THREADS;  // columns a thread

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void layer_norm_kernel(const float* x, const float* weight, const float* bias, float* y) {
  const auto group = oneapi::this_work_item::get_work_group<1>();
  const int thread = group.get_local_linear_id();
  const int row = group.get_group_id(0);

  float x_value[VALUES];
  float centered[VALUES];

  float total = 0.0f;
#pragma unroll
  for (int item = 0; item < VALUES; ++item) {
    const int col = item * THREADS + thread;
    if (col < COLS) {
      x_value[item] = x[row * COLS + col];
      total += x_value[item];
    }
  }

  total = sycl::reduce_over_group(group, total, sycl::plus<>());
  const float mean = total / (float)COLS;

  float squares = 0.0f;
#pragma unroll
  for (int item = 0; item < VALUES; ++item) {
    const int col = item * THREADS + thread;
    if (col < COLS) {
      centered[item] = x_value[item] - mean;
      squares += centered[item] * centered[item];
    }
  }

  squares = sycl::reduce_over_group(group, squares, sycl::plus<>());
  const float inverse_deviation = sycl::rsqrt(squares / (float)COLS + 1e-05f);

#pragma unroll
  for (int item = 0; item < VALUES; ++item) {
    const int col = item * THREADS + thread;
    if (col < COLS) {
      y[row * COLS + col] = centered[item] * inverse_deviation * weight[col] + bias[col];
    }
  }
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event layer_norm_f32(sycl::queue& queue, const float* x, const float* weight,
                           const float* bias, float* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups(ROWS);
    const sycl::range<1> items(THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<layer_norm_kernel>, x, weight, bias, y);
  });
}

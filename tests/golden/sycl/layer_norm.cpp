#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int ROWS = 8192, COLS = 4096;
// Parameters of this variant.
constexpr int THREADS = 256;

constexpr int VALUES = (COLS + THREADS - 1) / THREADS;  // columns of a thread

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void layer_norm_kernel(const float* x, const float* weight, const float* bias, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int thread = item.get_local_linear_id();
  const int row = item.get_group(0);

  float x_value[VALUES];
  float centered[VALUES];

  float total = 0.0f;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      x_value[part] = x[row * COLS + col];
      total += x_value[part];
    }
  }

  total = sycl::reduce_over_group(item.get_group(), total, sycl::plus<>());
  const float mean = total / (float)COLS;

  float squares = 0.0f;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      centered[part] = x_value[part] - mean;
      squares += centered[part] * centered[part];
    }
  }

  squares = sycl::reduce_over_group(item.get_group(), squares, sycl::plus<>());
  const float inverse_deviation = sycl::rsqrt(squares / (float)COLS + 1e-05f);

#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      y[row * COLS + col] = centered[part] * inverse_deviation * weight[col] + bias[col];
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

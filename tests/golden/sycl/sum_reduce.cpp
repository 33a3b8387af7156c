#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int ROWS = 8192, COLS = 8192;
// Parameters of this variant.
constexpr int THREADS = 64;

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void sum_reduce_kernel(const float* x, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int thread = item.get_local_linear_id();
  const int row = item.get_group(0);

  float total = 0.0f;
  for (int col = thread; col < COLS; col += THREADS) {
    total += x[row * COLS + col];
  }

  total = sycl::reduce_over_group(item.get_group(), total, sycl::plus<>());

  if (thread == 0) {
    y[row] = total;
  }
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event sum_reduce_f32(sycl::queue& queue, const float* x, float* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups(ROWS);
    const sycl::range<1> items(THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<sum_reduce_kernel>, x, y);
  });
}

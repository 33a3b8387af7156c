#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int ROWS = 4096, COLS = 16384;
// Parameters of this variant.
constexpr int THREADS = 512, ITEMS = 8;

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void relu_kernel(const float* x, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int first = item.get_group(0) * (THREADS * ITEMS) + item.get_local_linear_id();
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int i = first + part * THREADS;
    if (i < ROWS * COLS) {
      const float x_value = x[i];
      y[i] = x_value < 0.0f ? 0.0f : x_value;
    }
  }
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event relu_f32(sycl::queue& queue, const float* x, float* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups((ROWS * COLS + THREADS * ITEMS - 1) / (THREADS * ITEMS));
    const sycl::range<1> items(THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<relu_kernel>, x, y);
  });
}

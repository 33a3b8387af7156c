#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int ROWS = 8192, COLS = 4096;
// Parameters of this variant.
constexpr int THREADS = 512, ITEMS = 8;

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void bias_gelu_kernel(const float* x, const float* bias, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int first = item.get_group(0) * (THREADS * ITEMS) + item.get_local_linear_id();
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int i = first + part * THREADS;
    if (i < ROWS * COLS) {
      const int col = i % COLS;
      const float add = x[i] + bias[col];
      y[i] = 0.5f * add * (1.0f + sycl::erf(add * 0.70710677f));
    }
  }
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event bias_gelu_f32(sycl::queue& queue, const float* x, const float* bias, float* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups((ROWS * COLS + THREADS * ITEMS - 1) / (THREADS * ITEMS));
    const sycl::range<1> items(THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<bias_gelu_kernel>, x, bias, y);
  });
}

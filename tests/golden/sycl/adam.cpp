#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int SIZE = 33554432;
// Parameters of this variant.
constexpr int THREADS = 512, ITEMS = 8;

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void adam_kernel(const float* parameter, const float* gradient, const float* mean,
                 const float* square, float* y2, float* y3, float* y1) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int first = item.get_group(0) * (THREADS * ITEMS) + item.get_local_linear_id();
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int size = first + part * THREADS;
    if (size < SIZE) {
      const float mean_value = mean[size];
      const float gradient_value = gradient[size];
      const float lerp = mean_value + 0.1f * (gradient_value - mean_value);
      const float add = square[size] * 0.999f + gradient_value * 0.001f * gradient_value;
      const float div = lerp / 0.65132153f;
      const float mul_3 = div * 0.001f;
      const float div_1 = add / 0.009955119f;
      const float sqrt2 = sycl::sqrt(div_1);
      const float add_1 = sqrt2 + 1e-08f;
      const float div_2 = mul_3 / add_1;
      y2[size] = lerp;
      y3[size] = add;
      y1[size] = parameter[size] - div_2;
    }
  }
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event adam_f32(sycl::queue& queue, const float* parameter, const float* gradient,
                     const float* mean, const float* square, float* y1, float* y2, float* y3) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups((SIZE + THREADS * ITEMS - 1) / (THREADS * ITEMS));
    const sycl::range<1> items(THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<adam_kernel>, parameter, gradient, mean, square, y2, y3,
                    y1);
  });
}

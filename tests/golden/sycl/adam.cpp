#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int SIZE = 33554432;
// Parameters of this variant.
constexpr int LERP_THREADS = 512, LERP_ITEMS = 8;
constexpr int ADD_THREADS = 512, ADD_ITEMS = 8;
constexpr int SUB_THREADS = 512, SUB_ITEMS = 8;

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void lerp_kernel(const float* gradient, const float* mean, float* y2) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int first = item.get_group(0) * (LERP_THREADS * LERP_ITEMS) + item.get_local_linear_id();
#pragma unroll
  for (int part = 0; part < LERP_ITEMS; ++part) {
    const int size = first + part * LERP_THREADS;
    if (size < SIZE) {
      const float mean_value = mean[size];
      y2[size] = mean_value + 0.1f * (gradient[size] - mean_value);
    }
  }
}

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void add_kernel(const float* gradient, const float* square, float* y3) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int first = item.get_group(0) * (ADD_THREADS * ADD_ITEMS) + item.get_local_linear_id();
#pragma unroll
  for (int part = 0; part < ADD_ITEMS; ++part) {
    const int size = first + part * ADD_THREADS;
    if (size < SIZE) {
      const float gradient_value = gradient[size];
      y3[size] = square[size] * 0.999f + gradient_value * 0.001f * gradient_value;
    }
  }
}

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void sub_kernel(const float* parameter, const float* gradient, const float* mean,
                const float* square, float* y1) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int first = item.get_group(0) * (SUB_THREADS * SUB_ITEMS) + item.get_local_linear_id();
#pragma unroll
  for (int part = 0; part < SUB_ITEMS; ++part) {
    const int size = first + part * SUB_THREADS;
    if (size < SIZE) {
      const float mean_value = mean[size];
      const float gradient_value = gradient[size];
      const float lerp = mean_value + 0.1f * (gradient_value - mean_value);
      const float div = lerp / 0.65132153f;
      const float mul_3 = div * 0.001f;
      const float add = square[size] * 0.999f + gradient_value * 0.001f * gradient_value;
      const float div_1 = add / 0.009955119f;
      const float sqrt2 = sycl::sqrt(div_1);
      const float add_1 = sqrt2 + 1e-08f;
      const float div_2 = mul_3 / add_1;
      y1[size] = parameter[size] - div_2;
    }
  }
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event adam_f32(sycl::queue& queue, const float* parameter, const float* gradient,
                     const float* mean, const float* square, float* y1, float* y2, float* y3) {
  const auto step1 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups((SIZE + LERP_THREADS * LERP_ITEMS - 1)
                                / (LERP_THREADS * LERP_ITEMS));
    const sycl::range<1> items(LERP_THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<lerp_kernel>, gradient, mean, y2);
  });
  const auto step2 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step1);
    const sycl::range<1> groups((SIZE + ADD_THREADS * ADD_ITEMS - 1) / (ADD_THREADS * ADD_ITEMS));
    const sycl::range<1> items(ADD_THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<add_kernel>, gradient, square, y3);
  });
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step2);
    const sycl::range<1> groups((SIZE + SUB_THREADS * SUB_ITEMS - 1) / (SUB_THREADS * SUB_ITEMS));
    const sycl::range<1> items(SUB_THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<sub_kernel>, parameter, gradient, mean, square, y1);
  });
}

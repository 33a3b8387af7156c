#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int B = 64, T = 512, D = 768;
// Parameters of this variant.
constexpr int THREADS = 512, ITEMS = 8;

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void embedding_kernel(const long long* ids, const float* table, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int first = item.get_group(0) * (THREADS * ITEMS) + item.get_local_linear_id();
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int i = first + part * THREADS;
    if (i < B * T * D) {
      const int b = i / (T * D);
      const int t = (i / D) % T;
      const int d = i % D;
      const int ids_at = ids[b * T + t];
      y[i] = table[ids_at * D + d];
    }
  }
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event embedding_f32(sycl::queue& queue, const long long* ids, const float* table, float* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups((B * T * D + THREADS * ITEMS - 1) / (THREADS * ITEMS));
    const sycl::range<1> items(THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<embedding_kernel>, ids, table, y);
  });
}

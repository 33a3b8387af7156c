#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int B = 64, T = 512, D = 768;
// Parameters of this variant.
constexpr int THREADS = 128, ITEMS = 1;

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void embedding_kernel(const long long* ids, const float* table, float* y) {
  const auto group = oneapi::this_work_item::get_work_group<1>();
  const int first = group.get_group_id(0) * (THREADS * ITEMS) + group.get_local_linear_id();
#pragma unroll
  for (int item = 0; item < ITEMS; ++item) {
    const int i = first + item * THREADS;
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

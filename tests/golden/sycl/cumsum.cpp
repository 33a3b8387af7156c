#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int ROWS = 4096, COLS = 32768;
// Parameters of this variant.
constexpr int THREADS = 128, ITEMS = 4;

// The sum of the values of all threads before this one; `total` gets that of all.
inline float scan_sum(float value, float* total, float* scratch) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int thread = item.get_local_linear_id();
  float before = 0.0f;
  scratch[thread] = value;
  item.barrier(sycl::access::fence_space::local_space);
  for (int offset = 1; offset < THREADS; offset *= 2) {
    if (thread >= offset) {
      const float other = scratch[thread - offset];
      value = value + other;
    }
    item.barrier(sycl::access::fence_space::local_space);  // all have read
    scratch[thread] = value;
    item.barrier(sycl::access::fence_space::local_space);
  }
  if (thread > 0) before = scratch[thread - 1];
  *total = scratch[THREADS - 1];
  item.barrier(sycl::access::fence_space::local_space);  // scratch may be written again
  return before;
}

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void cumsum_kernel(const float* x, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  exp_::work_group_static<float[THREADS]> scratch;
  const int thread = item.get_local_linear_id();
  const int row = item.get_group(0);

  float carry = 0.0f;  // of the stretches before
  for (int first = 0; first < COLS; first += THREADS * ITEMS) {
    float running[ITEMS], own = 0.0f, stretch;
#pragma unroll
    for (int part = 0; part < ITEMS; ++part) {
      const int col = first + thread * ITEMS + part;
      if (col < COLS) {
        own += x[row * COLS + col];
      }
      running[part] = own;
    }
    const float before = scan_sum(own, &stretch, scratch);
    const float ahead = carry + before;
#pragma unroll
    for (int part = 0; part < ITEMS; ++part) {
      const int col = first + thread * ITEMS + part;
      if (col < COLS) {
        const float total = ahead + running[part];
        y[row * COLS + col] = total;
      }
    }
    carry = carry + stretch;
  }
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event cumsum_f32(sycl::queue& queue, const float* x, float* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups(ROWS);
    const sycl::range<1> items(THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<cumsum_kernel>, x, y);
  });
}

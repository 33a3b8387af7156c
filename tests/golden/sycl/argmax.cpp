#include <limits>
#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int ROWS = 8192, COLS = 8192;
// Parameters of this variant.
constexpr int THREADS = 512;

constexpr float INFINITE = std::numeric_limits<float>::infinity();

// The larger of two; NaN wins, as in PyTorch.
inline float maximum(float a, float b) { return b > a || b != b ? b : a; }

constexpr int VALUES = (COLS + THREADS - 1) / THREADS;  // columns of a thread

// The largest of `value` over the work-group; every thread gets it.
inline float workgroup_max(float value, float* scratch) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int thread = item.get_local_linear_id();
  scratch[thread] = value;
  item.barrier(sycl::access::fence_space::local_space);
  for (int count = THREADS / 2; count > 0; count /= 2) {
    if (thread < count) {
      const float other = scratch[thread + count];
      scratch[thread] = maximum(scratch[thread], other);
    }
    item.barrier(sycl::access::fence_space::local_space);
  }
  value = scratch[0];
  item.barrier(sycl::access::fence_space::local_space);  // scratch may be written again
  return value;
}

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void argmax_kernel(const float* x, long long* y) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  exp_::work_group_static<float[THREADS]> scratch;
  const int thread = item.get_local_linear_id();
  const int row = item.get_group(0);

  float x_value[VALUES];

  float highest = -INFINITE;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      x_value[part] = x[row * COLS + col];
      highest = maximum(highest, x_value[part]);
    }
  }

  highest = workgroup_max(highest, scratch);

  int position = 2147483647;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      const int candidate = x_value[part] == highest || sycl::isnan(x_value[part]) ? col : COLS;
      position = candidate < position ? candidate : position;
    }
  }

  position = sycl::reduce_over_group(item.get_group(), position, sycl::minimum<>());
  const long long argmax = (long long)position;

  if (thread == 0) {
    y[row] = argmax;
  }
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event argmax_f32(sycl::queue& queue, const float* x, long long* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups(ROWS);
    const sycl::range<1> items(THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<argmax_kernel>, x, y);
  });
}

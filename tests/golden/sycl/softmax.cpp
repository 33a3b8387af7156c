#include <limits>
#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int ROWS = 4096, COLS = 4096;
// Parameters of this variant.
constexpr int THREADS = 256;

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
void softmax_kernel(const float* x, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  exp_::work_group_static<float[THREADS]> scratch;
  const int thread = item.get_local_linear_id();
  const int row = item.get_group(0);

  float x_value[VALUES];
  float weight[VALUES];

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

  float total = 0.0f;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      weight[part] = sycl::exp(x_value[part] - highest);
      total += weight[part];
    }
  }

  total = sycl::reduce_over_group(item.get_group(), total, sycl::plus<>());

#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      y[row * COLS + col] = weight[part] / total;
    }
  }
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event softmax_f32(sycl::queue& queue, const float* x, float* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups(ROWS);
    const sycl::range<1> items(THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<softmax_kernel>, x, y);
  });
}

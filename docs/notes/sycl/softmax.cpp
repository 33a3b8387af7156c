// SPDX-License-Identifier: Apache-2.0
// softmax over the last axis, float32: x[4096, 1000] -> y[4096, 1000].
// pvc (Data Center GPU Max). One work-group a row: 256 work-items, 4 values a work-item, 1 KB of local memory.
// Evidence: record.json (emulated; not run on an Intel GPU). Generator: mkgen 0.1.0, template c/rowwise.
#include <limits>
#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int ROWS = 4096, COLS = 1000;

// Parameters of this variant: one pass, the row lives in registers.
constexpr int ITEMS = 256, VALUES = (COLS + ITEMS - 1) / ITEMS;
constexpr float LOWEST = -std::numeric_limits<float>::infinity();
static_assert((ITEMS & (ITEMS - 1)) == 0, "the tree reduction halves the work-group");

struct Max { float operator()(float a, float b) const { return sycl::fmax(a, b); } };
struct Sum { float operator()(float a, float b) const { return a + b; } };

// Combines `value` over the work-group; every work-item gets the result. Barriers only.
template <class Combine>
float reduce_work_group(sycl::group<1> group, float* scratch, float value, Combine combine) {
  const int item = group.get_local_linear_id();
  sycl::group_barrier(group);  // the previous reduction may still be reading `scratch`
  scratch[item] = value;
  for (int half = ITEMS / 2; half > 0; half /= 2) {
    sycl::group_barrier(group);
    if (item < half) scratch[item] = combine(scratch[item], scratch[item + half]);
  }
  sycl::group_barrier(group);
  return scratch[0];
}

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void softmax_kernel(const float* x, float* y) {
  exp_::work_group_static<float[ITEMS]> scratch;
  const auto group = oneapi::this_work_item::get_work_group<1>();
  const int item = group.get_local_linear_id();
  const size_t row = group.get_group_linear_id() * size_t(COLS);
  float logit[VALUES], highest = LOWEST, total = 0.0f;

  for (int i = 0; i < VALUES; ++i) {
    const int col = i * ITEMS + item;
    logit[i] = col < COLS ? x[row + col] : LOWEST;
    highest = sycl::fmax(highest, logit[i]);
  }
  highest = reduce_work_group(group, scratch, highest, Max());

  for (int i = 0; i < VALUES; ++i) {
    logit[i] = sycl::exp(logit[i] - highest);
    total += logit[i];
  }
  total = reduce_work_group(group, scratch, total, Sum());

  for (int i = 0; i < VALUES; ++i) {
    const int col = i * ITEMS + item;
    if (col < COLS) y[row + col] = logit[i] / total;
  }
}

// Enqueues on `queue`; x and y are contiguous USM arrays of ROWS * COLS floats.
sycl::event softmax_f32(sycl::queue& queue, const float* x, float* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    exp_::nd_launch(handler, sycl::nd_range<1>(size_t(ROWS) * ITEMS, ITEMS),
                    exp_::kernel_function<softmax_kernel>, x, y);
  });
}

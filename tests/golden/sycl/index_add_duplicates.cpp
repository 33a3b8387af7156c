#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int ROWS = 512, COLS = 4096, SOURCES = 4096;
// Parameters of this variant.
constexpr int THREADS = 512;

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void index_add_duplicates_kernel(const float* x, const long long* index, const float* values,
                                 float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int row_index = item.get_group(0) * THREADS + item.get_local_linear_id();
  if (row_index >= ROWS * COLS) return;
  const int row = row_index / COLS;
  const int col = row_index % COLS;

  float total = 0.0f;
  // Sums of 64 terms are summed: one sequential sum of many would lose digits.
  float recent = 0.0f;
  int held = 0;
  for (int source = 0; source < SOURCES; ++source) {
    recent += index[source] == row ? values[source * COLS + col] : 0.0f;
    if (++held % 64 == 0) {
      total += recent;
      recent = 0.0f;
    }
  }
  total += recent;

  y[row_index] = x[row_index] + total;
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event index_add_duplicates_f32(sycl::queue& queue, const float* x, const long long* index,
                                     const float* values, float* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups((ROWS * COLS + THREADS - 1) / THREADS);
    const sycl::range<1> items(THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<index_add_duplicates_kernel>, x, index, values, y);
  });
}

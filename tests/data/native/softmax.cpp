// SPDX-License-Identifier: Apache-2.0
/* mkgen
task = "softmax"
backend = "sycl"
[[launch]]
entry = "softmax_kernel"
args = ["x", "y"]
grid = ["ROWS"]
block = [256]
*/
#include <limits>
#include <sycl/sycl.hpp>
namespace exp_ = sycl::ext::oneapi::experimental;

constexpr int ITEMS = 256;
constexpr float LOWEST = -std::numeric_limits<float>::infinity();

// One work-group a row: the maximum, the sum of exponentials, then every weight.
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void softmax_kernel(const float* x, float* y) {
  const auto item = sycl::ext::oneapi::this_work_item::get_nd_item<1>();
  const auto group = item.get_group();
  const size_t row = item.get_group(0) * size_t(COLS);
  const int first = item.get_local_id(0);
  float highest = LOWEST, total = 0.0f;
  for (int col = first; col < COLS; col += ITEMS) highest = sycl::fmax(highest, x[row + col]);
  highest = sycl::reduce_over_group(group, highest, sycl::maximum<>());
  for (int col = first; col < COLS; col += ITEMS) total += sycl::exp(x[row + col] - highest);
  total = sycl::reduce_over_group(group, total, sycl::plus<>());
  for (int col = first; col < COLS; col += ITEMS)
    y[row + col] = sycl::exp(x[row + col] - highest) / total;
}

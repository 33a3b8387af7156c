// SPDX-License-Identifier: Apache-2.0
/* mkgen
task = "bias_gelu"
backend = "sycl"
[[launch]]
entry = "bias_gelu_kernel"
args = ["x", "bias", "y"]
grid = ["ceil_div(COLS, 64)", "ROWS"]
block = [64]
*/
#include <sycl/sycl.hpp>
namespace exp_ = sycl::ext::oneapi::experimental;

// A work-item an element: y = gelu(x + bias) by the error function. The last axis is x.
extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<3>))
void bias_gelu_kernel(const float* x, const float* bias, float* y) {
  const auto item = sycl::ext::oneapi::this_work_item::get_nd_item<3>();
  const int col = item.get_global_id(2);
  if (col >= COLS) return;
  const size_t at = item.get_group(1) * size_t(COLS) + col;
  const float value = x[at] + bias[col];
  y[at] = 0.5f * value * (1.0f + sycl::erf(value * 0.70710678f));
}

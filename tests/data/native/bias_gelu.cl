// SPDX-License-Identifier: Apache-2.0
/* mkgen
task = "bias_gelu"
backend = "opencl"
[[launch]]
entry = "bias_gelu_kernel"
args = ["x", "bias", "y"]
grid = ["ceil_div(COLS, 64)", "ROWS"]
block = [64]
*/

// A work-item an element: y = gelu(x + bias) by the error function.
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void bias_gelu_kernel(__global const float* restrict x, __global const float* restrict bias,
                      __global float* restrict y) {
  const int col = get_global_id(0);
  if (col >= COLS) return;
  const size_t at = get_group_id(1) * (size_t)COLS + col;
  const float value = x[at] + bias[col];
  y[at] = 0.5f * value * (1.0f + erf(value * 0.70710678f));
}

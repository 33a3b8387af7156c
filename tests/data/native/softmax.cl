// SPDX-License-Identifier: Apache-2.0
/* mkgen
task = "softmax"
backend = "opencl"
[[launch]]
entry = "softmax_kernel"
args = ["x", "y"]
grid = ["ROWS"]
block = [128]
*/
#define THREADS 128

// Combines one value of each work-item by a tree; every work-item gets the result.
float combine_workgroup(float value, __local float* partial, int largest) {
  const int item = get_local_id(0);
  barrier(CLK_LOCAL_MEM_FENCE);  // the previous reduction may still be reading `partial`
  partial[item] = value;
  for (int width = THREADS / 2; width > 0; width /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < width) {
      const float other = partial[item + width];
      partial[item] = largest ? fmax(partial[item], other) : partial[item] + other;
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  return partial[0];
}

// One work-group a row: the maximum, the sum of exponentials, then every weight.
__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void softmax_kernel(__global const float* restrict x, __global float* restrict y) {
  __local float partial[THREADS];
  const size_t row = get_group_id(0) * (size_t)COLS;
  float highest = -INFINITY, total = 0.0f;
  for (int col = get_local_id(0); col < COLS; col += THREADS) highest = fmax(highest, x[row + col]);
  highest = combine_workgroup(highest, partial, 1);
  for (int col = get_local_id(0); col < COLS; col += THREADS) total += exp(x[row + col] - highest);
  total = combine_workgroup(total, partial, 0);
  for (int col = get_local_id(0); col < COLS; col += THREADS)
    y[row + col] = exp(x[row + col] - highest) / total;
}

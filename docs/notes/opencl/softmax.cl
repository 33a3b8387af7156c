// SPDX-License-Identifier: Apache-2.0
// softmax over the last axis, float32: x[4096, 1000] -> y[4096, 1000].
// cpu. One work-group a row: 256 work-items, 4 values a work-item, 1 KB of local memory.
// Evidence: record.json (emulated). Generator: mkgen 0.1.0, template c/rowwise. Host launcher: softmax.c.

// Sizes. Everything below follows from them.
#define ROWS 4096
#define COLS 1000

// Parameters of this variant: one pass, the row lives in registers.
#define ITEMS 256  // a power of two: the tree reduction halves the work-group
#define VALUES ((COLS + ITEMS - 1) / ITEMS)

// Combines `value` over the work-group; every work-item gets the result. Barriers only.
float reduce_max(__local float* scratch, float value) {
  const int item = get_local_id(0);
  barrier(CLK_LOCAL_MEM_FENCE);  // the previous reduction may still be reading `scratch`
  scratch[item] = value;
  for (int half_items = ITEMS / 2; half_items > 0; half_items /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < half_items) scratch[item] = fmax(scratch[item], scratch[item + half_items]);
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  return scratch[0];
}

float reduce_sum(__local float* scratch, float value) {
  const int item = get_local_id(0);
  barrier(CLK_LOCAL_MEM_FENCE);
  scratch[item] = value;
  for (int half_items = ITEMS / 2; half_items > 0; half_items /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < half_items) scratch[item] += scratch[item + half_items];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  return scratch[0];
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1)))
void softmax_kernel(__global const float* restrict x, __global float* restrict y) {
  __local float scratch[ITEMS];
  const int item = get_local_id(0);
  const size_t row = get_group_id(0) * (size_t)COLS;
  float logit[VALUES], highest = -INFINITY, total = 0.0f;

  for (int i = 0; i < VALUES; ++i) {
    const int col = i * ITEMS + item;
    logit[i] = col < COLS ? x[row + col] : -INFINITY;
    highest = fmax(highest, logit[i]);
  }
  highest = reduce_max(scratch, highest);

  for (int i = 0; i < VALUES; ++i) {
    logit[i] = exp(logit[i] - highest);
    total += logit[i];
  }
  total = reduce_sum(scratch, total);

  for (int i = 0; i < VALUES; ++i) {
    const int col = i * ITEMS + item;
    if (col < COLS) y[row + col] = logit[i] / total;
  }
}

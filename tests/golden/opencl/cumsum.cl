// Sizes. Everything below follows from them.
#define ROWS 4096
#define COLS 32768
// Parameters of this variant.
#define THREADS 128
#define ITEMS   4

// The sum of the values of all threads before this one; `total` gets that of all.
float scan_sum(float value, float* total, __local float* scratch) {
  const int thread = get_local_id(0);
  float before = 0.0f;
  scratch[thread] = value;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int offset = 1; offset < THREADS; offset *= 2) {
    if (thread >= offset) {
      const float other = scratch[thread - offset];
      value = value + other;
    }
    barrier(CLK_LOCAL_MEM_FENCE);  // all have read
    scratch[thread] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  if (thread > 0) before = scratch[thread - 1];
  *total = scratch[THREADS - 1];
  barrier(CLK_LOCAL_MEM_FENCE);  // scratch may be written again
  return before;
}

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void cumsum_kernel(__global const float* restrict x, __global float* restrict y) {
  __local float scratch[THREADS];
  const int thread = get_local_id(0);
  const int row = get_group_id(0);

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

// Sizes. Everything below follows from them.
#define ROWS 8192
#define COLS 8192
// Parameters of this variant.
#define THREADS 64

// The sum of `value` over the work-group; every thread gets it.
float workgroup_sum(float value, __local float* scratch) {
  const int thread = get_local_id(0);
  scratch[thread] = value;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int count = THREADS / 2; count > 0; count /= 2) {
    if (thread < count) {
      const float other = scratch[thread + count];
      scratch[thread] = scratch[thread] + other;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  value = scratch[0];
  barrier(CLK_LOCAL_MEM_FENCE);  // scratch may be written again
  return value;
}

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void sum_reduce_kernel(__global const float* restrict x, __global float* restrict y) {
  __local float scratch[THREADS];
  const int thread = get_local_id(0);
  const int row = get_group_id(0);

  float total = 0.0f;
  for (int col = thread; col < COLS; col += THREADS) {
    total += x[row * COLS + col];
  }

  total = workgroup_sum(total, scratch);

  if (thread == 0) {
    y[row] = total;
  }
}

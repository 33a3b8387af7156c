// Sizes. Everything below follows from them.
#define ROWS 8192
#define COLS 8192
// Parameters of this variant.
#define THREADS 512

// The larger of two; NaN wins, as in PyTorch.
float maximum(float a, float b) { return b > a || b != b ? b : a; }

#define VALUES ((COLS + THREADS - 1) / THREADS)  // columns of a thread

// The largest of `value` over the work-group; every thread gets it.
float workgroup_max(float value, __local float* scratch) {
  const int thread = get_local_id(0);
  scratch[thread] = value;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int count = THREADS / 2; count > 0; count /= 2) {
    if (thread < count) {
      const float other = scratch[thread + count];
      scratch[thread] = maximum(scratch[thread], other);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  value = scratch[0];
  barrier(CLK_LOCAL_MEM_FENCE);  // scratch may be written again
  return value;
}

// The smallest of `value` over the work-group; every thread gets it.
int workgroup_min_int32(int value, __local int* scratch) {
  const int thread = get_local_id(0);
  scratch[thread] = value;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int count = THREADS / 2; count > 0; count /= 2) {
    if (thread < count) {
      const int other = scratch[thread + count];
      scratch[thread] = other < scratch[thread] ? other : scratch[thread];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  value = scratch[0];
  barrier(CLK_LOCAL_MEM_FENCE);  // scratch may be written again
  return value;
}

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void argmax_kernel(__global const float* restrict x, __global long* restrict y) {
  __local float scratch[THREADS];
  __local int scratch_int32[THREADS];
  const int thread = get_local_id(0);
  const int row = get_group_id(0);

  float x_value[VALUES];

  float highest = -INFINITY;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      x_value[part] = x[row * COLS + col];
      highest = maximum(highest, x_value[part]);
    }
  }

  highest = workgroup_max(highest, scratch);

  int position = 2147483647;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      const int candidate = x_value[part] == highest || isnan(x_value[part]) ? col : COLS;
      position = candidate < position ? candidate : position;
    }
  }

  position = workgroup_min_int32(position, scratch_int32);
  const long argmax = (long)position;

  if (thread == 0) {
    y[row] = argmax;
  }
}

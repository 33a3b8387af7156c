// Sizes. Everything below follows from them.
#define ROWS 4096
#define COLS 4096
// Parameters of this variant.
#define THREADS 256

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
void softmax_kernel(__global const float* restrict x, __global float* restrict y) {
  __local float scratch[THREADS];
  const int thread = get_local_id(0);
  const int row = get_group_id(0);

  float x_value[VALUES];
  float weight[VALUES];

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

  float total = 0.0f;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      weight[part] = exp(x_value[part] - highest);
      total += weight[part];
    }
  }

  total = workgroup_sum(total, scratch);

#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      y[row * COLS + col] = weight[part] / total;
    }
  }
}

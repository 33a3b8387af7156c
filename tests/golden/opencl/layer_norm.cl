// Sizes. Everything below follows from them.
#define ROWS 8192
#define COLS 4096
// Parameters of this variant.
#define THREADS 256

#define VALUES ((COLS + THREADS - 1) / THREADS)  // columns of a thread

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
void layer_norm_kernel(__global const float* restrict x, __global const float* restrict weight,
                       __global const float* restrict bias, __global float* restrict y) {
  __local float scratch[THREADS];
  const int thread = get_local_id(0);
  const int row = get_group_id(0);

  float x_value[VALUES];
  float centered[VALUES];

  float total = 0.0f;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      x_value[part] = x[row * COLS + col];
      total += x_value[part];
    }
  }

  total = workgroup_sum(total, scratch);
  const float mean = total / (float)COLS;

  float squares = 0.0f;
#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      centered[part] = x_value[part] - mean;
      squares += centered[part] * centered[part];
    }
  }

  squares = workgroup_sum(squares, scratch);
  const float inverse_deviation = rsqrt(squares / (float)COLS + 1e-05f);

#pragma unroll
  for (int part = 0; part < VALUES; ++part) {
    const int col = part * THREADS + thread;
    if (col < COLS) {
      y[row * COLS + col] = centered[part] * inverse_deviation * weight[col] + bias[col];
    }
  }
}

// Sizes. Everything below follows from them.
#define ROWS 8192
#define COLS 4096
// Parameters of this variant.
#define THREADS 512
#define ITEMS   8

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void bias_gelu_kernel(__global const float* restrict x, __global const float* restrict bias,
                      __global float* restrict y) {
  const int first = get_group_id(0) * (THREADS * ITEMS) + get_local_id(0);
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int i = first + part * THREADS;
    if (i < ROWS * COLS) {
      const int col = i % COLS;
      const float add = x[i] + bias[col];
      y[i] = 0.5f * add * (1.0f + erf(add * 0.70710677f));
    }
  }
}

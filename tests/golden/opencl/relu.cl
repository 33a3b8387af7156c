// Sizes. Everything below follows from them.
#define ROWS 4096
#define COLS 16384
// Parameters of this variant.
#define THREADS 512
#define ITEMS   8

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void relu_kernel(__global const float* restrict x, __global float* restrict y) {
  const int first = get_group_id(0) * (THREADS * ITEMS) + get_local_id(0);
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int i = first + part * THREADS;
    if (i < ROWS * COLS) {
      const float x_value = x[i];
      y[i] = x_value < 0.0f ? 0.0f : x_value;
    }
  }
}

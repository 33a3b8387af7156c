// Sizes. Everything below follows from them.
#define SIZE 33554432
// Parameters of this variant.
#define THREADS 512
#define ITEMS   8

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void adam_kernel(__global const float* restrict parameter,
                 __global const float* restrict gradient, __global const float* restrict mean,
                 __global const float* restrict square, __global float* restrict y2,
                 __global float* restrict y3, __global float* restrict y1) {
  const int first = get_group_id(0) * (THREADS * ITEMS) + get_local_id(0);
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int size = first + part * THREADS;
    if (size < SIZE) {
      const float mean_value = mean[size];
      const float gradient_value = gradient[size];
      const float lerp = mean_value + 0.1f * (gradient_value - mean_value);
      const float add = square[size] * 0.999f + gradient_value * 0.001f * gradient_value;
      const float div = lerp / 0.65132153f;
      const float mul_3 = div * 0.001f;
      const float div_1 = add / 0.009955119f;
      const float sqrt2 = sqrt(div_1);
      const float add_1 = sqrt2 + 1e-08f;
      const float div_2 = mul_3 / add_1;
      y2[size] = lerp;
      y3[size] = add;
      y1[size] = parameter[size] - div_2;
    }
  }
}

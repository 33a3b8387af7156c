// Sizes. Everything below follows from them.
#define SIZE 33554432
// Parameters of this variant.
#define LERP_THREADS 512
#define LERP_ITEMS   8
#define ADD_THREADS 512
#define ADD_ITEMS   8
#define SUB_THREADS 512
#define SUB_ITEMS   8

__kernel __attribute__((reqd_work_group_size(LERP_THREADS, 1, 1)))
void lerp_kernel(__global const float* restrict gradient, __global const float* restrict mean,
                 __global float* restrict y2) {
  const int first = get_group_id(0) * (LERP_THREADS * LERP_ITEMS) + get_local_id(0);
#pragma unroll
  for (int part = 0; part < LERP_ITEMS; ++part) {
    const int size = first + part * LERP_THREADS;
    if (size < SIZE) {
      const float mean_value = mean[size];
      y2[size] = mean_value + 0.1f * (gradient[size] - mean_value);
    }
  }
}

__kernel __attribute__((reqd_work_group_size(ADD_THREADS, 1, 1)))
void add_kernel(__global const float* restrict gradient, __global const float* restrict square,
                __global float* restrict y3) {
  const int first = get_group_id(0) * (ADD_THREADS * ADD_ITEMS) + get_local_id(0);
#pragma unroll
  for (int part = 0; part < ADD_ITEMS; ++part) {
    const int size = first + part * ADD_THREADS;
    if (size < SIZE) {
      const float gradient_value = gradient[size];
      y3[size] = square[size] * 0.999f + gradient_value * 0.001f * gradient_value;
    }
  }
}

__kernel __attribute__((reqd_work_group_size(SUB_THREADS, 1, 1)))
void sub_kernel(__global const float* restrict parameter, __global const float* restrict gradient,
                __global const float* restrict mean, __global const float* restrict square,
                __global float* restrict y1) {
  const int first = get_group_id(0) * (SUB_THREADS * SUB_ITEMS) + get_local_id(0);
#pragma unroll
  for (int part = 0; part < SUB_ITEMS; ++part) {
    const int size = first + part * SUB_THREADS;
    if (size < SIZE) {
      const float mean_value = mean[size];
      const float gradient_value = gradient[size];
      const float lerp = mean_value + 0.1f * (gradient_value - mean_value);
      const float div = lerp / 0.65132153f;
      const float mul_3 = div * 0.001f;
      const float add = square[size] * 0.999f + gradient_value * 0.001f * gradient_value;
      const float div_1 = add / 0.009955119f;
      const float sqrt2 = sqrt(div_1);
      const float add_1 = sqrt2 + 1e-08f;
      const float div_2 = mul_3 / add_1;
      y1[size] = parameter[size] - div_2;
    }
  }
}

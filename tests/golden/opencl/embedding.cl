// Sizes. Everything below follows from them.
#define B 64
#define T 512
#define D 768
// Parameters of this variant.
#define THREADS 512
#define ITEMS   8

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void embedding_kernel(__global const long* restrict ids, __global const float* restrict table,
                      __global float* restrict y) {
  const int first = get_group_id(0) * (THREADS * ITEMS) + get_local_id(0);
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int i = first + part * THREADS;
    if (i < B * T * D) {
      const int b = i / (T * D);
      const int t = (i / D) % T;
      const int d = i % D;
      const int ids_at = ids[b * T + t];
      y[i] = table[ids_at * D + d];
    }
  }
}

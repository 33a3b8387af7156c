// Sizes. Everything below follows from them.
#define N 16
#define C 32
#define H 128
#define W 128
#define P 256
#define Q 256
// Parameters of this variant.
#define THREADS 512
#define ITEMS   8

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void bilinear_resize_kernel(__global const float* restrict x, __global float* restrict y) {
  const int first = get_group_id(0) * (THREADS * ITEMS) + get_local_id(0);
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int i_index = first + part * THREADS;
    if (i_index < N * C * P * Q) {
      const int i = i_index / (P * Q);
      const int p = (i_index / Q) % P;
      const int q = i_index % Q;
      const float h_at = 0.5f * ((float)p + 0.5f) - 0.5f;
      const float h_source = h_at < 0.0f ? 0.0f : h_at;
      const float h_floor = floor(h_source);
      const float h_fraction = h_source - h_floor;
      const float w_at = 0.5f * ((float)q + 0.5f) - 0.5f;
      const float w_source = w_at < 0.0f ? 0.0f : w_at;
      const float w_floor = floor(w_source);
      const float w_fraction = w_source - w_floor;
      const int h_below = (int)h_floor;
      const int w_below = (int)w_floor;
      const int h0 = h_below < H - 1 ? h_below : H - 1;
      const int w0 = w_below < W - 1 ? w_below : W - 1;
      const int w1 = w_below + 1 < W - 1 ? w_below + 1 : W - 1;
      const float at_h0 = (1.0f - w_fraction) * x[(i * H + h0) * W + w0]
                          + w_fraction * x[(i * H + h0) * W + w1];
      const int h1 = h_below + 1 < H - 1 ? h_below + 1 : H - 1;
      const float at_h1 = (1.0f - w_fraction) * x[(i * H + h1) * W + w0]
                          + w_fraction * x[(i * H + h1) * W + w1];
      y[i_index] = (1.0f - h_fraction) * at_h0 + h_fraction * at_h1;
    }
  }
}

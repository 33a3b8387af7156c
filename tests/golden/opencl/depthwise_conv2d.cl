// Sizes. Everything below follows from them.
#define N     32
#define C     128
#define H     112
#define W     112
#define R     3
#define S     3
#define PAD_H 1
#define PAD_W 1
#define P     112
#define Q     112
// Parameters of this variant.
#define THREADS 512

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void depthwise_conv2d_kernel(__global const float* restrict x,
                             __global const float* restrict weight, __global float* restrict y) {
  const int row = get_group_id(0) * THREADS + get_local_id(0);
  if (row >= N * C * P * Q) return;
  const int n = row / (C * P * Q);
  const int c = (row / (P * Q)) % C;
  const int p = (row / Q) % P;
  const int q = row % Q;

  float total = 0.0f;
  for (int r = 0; r < R; ++r)
    for (int s = 0; s < S; ++s) {
      const int h = p + r - PAD_H;
      const int w = q + s - PAD_W;
      const bool inside = 0 <= h && h < H && 0 <= w && w < W;
      total += (inside ? x[((n * C + c) * H + h) * W + w] : 0.0f) * weight[(c * R + r) * S + s];
    }

  y[row] = total;
}

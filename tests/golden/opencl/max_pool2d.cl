// Sizes. Everything below follows from them.
#define N        32
#define C        64
#define H        112
#define W        112
#define WINDOW_H 3
#define WINDOW_W 3
#define STRIDE_H 2
#define STRIDE_W 2
#define PAD_H    1
#define PAD_W    1
#define P        56
#define Q        56
// Parameters of this variant.
#define THREADS 512

// The larger of two; NaN wins, as in PyTorch.
float maximum(float a, float b) { return b > a || b != b ? b : a; }

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void max_pool2d_kernel(__global const float* restrict x, __global float* restrict y) {
  const int row = get_group_id(0) * THREADS + get_local_id(0);
  if (row >= N * C * P * Q) return;
  const int n = row / (C * P * Q);
  const int c = (row / (P * Q)) % C;
  const int p = (row / Q) % P;
  const int q = row % Q;

  float best = -INFINITY;
  for (int r = 0; r < WINDOW_H; ++r)
    for (int s = 0; s < WINDOW_W; ++s) {
      const int h = p * STRIDE_H + r - PAD_H;
      const int w = q * STRIDE_W + s - PAD_W;
      const bool inside = 0 <= h && h < H && 0 <= w && w < W;
      best = maximum(best, inside ? x[((n * C + c) * H + h) * W + w] : -INFINITY);
    }

  y[row] = best;
}

#include <hip/hip_runtime.h>

// Sizes. Everything below follows from them.
constexpr int N = 32, C = 64, H = 112, W = 112, WINDOW_H = 3, WINDOW_W = 3, STRIDE_H = 2;
constexpr int STRIDE_W = 2, PAD_H = 1, PAD_W = 1, P = 56, Q = 56;
// Parameters of this variant.
constexpr int THREADS = 512;

// The larger of two; NaN wins, as in PyTorch.
__device__ float maximum(float a, float b) { return b > a || b != b ? b : a; }

extern "C" __global__ void __launch_bounds__(THREADS)
max_pool2d_kernel(const float* __restrict__ x, float* __restrict__ y) {
  const int row = blockIdx.x * THREADS + threadIdx.x;
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

#ifndef __HIPCC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" hipError_t max_pool2d_f32(const float* x, float* y, hipStream_t stream) {
  hipLaunchKernelGGL(max_pool2d_kernel, dim3((N * C * P * Q + THREADS - 1) / THREADS),
                     dim3(THREADS), 0, stream, x, y);
  return hipGetLastError();
}
#endif

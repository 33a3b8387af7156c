#include <hip/hip_runtime.h>

// Sizes. Everything below follows from them.
constexpr int N = 32, C = 128, H = 112, W = 112, R = 3, S = 3, PAD_H = 1, PAD_W = 1, P = 112;
constexpr int Q = 112;
// Parameters of this variant.
constexpr int THREADS = 512;

extern "C" __global__ void __launch_bounds__(THREADS)
depthwise_conv2d_kernel(const float* __restrict__ x, const float* __restrict__ weight,
                        float* __restrict__ y) {
  const int row = blockIdx.x * THREADS + threadIdx.x;
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

#ifndef __HIPCC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" hipError_t depthwise_conv2d_f32(const float* x, const float* weight, float* y,
                                           hipStream_t stream) {
  hipLaunchKernelGGL(depthwise_conv2d_kernel, dim3((N * C * P * Q + THREADS - 1) / THREADS),
                     dim3(THREADS), 0, stream, x, weight, y);
  return hipGetLastError();
}
#endif

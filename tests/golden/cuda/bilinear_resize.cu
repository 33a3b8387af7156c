#include <cuda_runtime.h>

// Sizes. Everything below follows from them.
constexpr int N = 16, C = 32, H = 128, W = 128, P = 256, Q = 256;
// Parameters of this variant.
constexpr int THREADS = 512, ITEMS = 8;

extern "C" __global__ void __launch_bounds__(THREADS)
bilinear_resize_kernel(const float* __restrict__ x, float* __restrict__ y) {
  const int first = blockIdx.x * (THREADS * ITEMS) + threadIdx.x;
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int i_index = first + part * THREADS;
    if (i_index < N * C * P * Q) {
      const int i = i_index / (P * Q);
      const int p = (i_index / Q) % P;
      const int q = i_index % Q;
      const float h_at = 0.5f * ((float)p + 0.5f) - 0.5f;
      const float h_source = h_at < 0.0f ? 0.0f : h_at;
      const float h_floor = floorf(h_source);
      const float h_fraction = h_source - h_floor;
      const float w_at = 0.5f * ((float)q + 0.5f) - 0.5f;
      const float w_source = w_at < 0.0f ? 0.0f : w_at;
      const float w_floor = floorf(w_source);
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

#ifndef __CUDACC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" cudaError_t bilinear_resize_f32(const float* x, float* y, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.stream = stream;
  config.gridDim = dim3((N * C * P * Q + THREADS * ITEMS - 1) / (THREADS * ITEMS));
  config.blockDim = dim3(THREADS);
  return cudaLaunchKernelEx(&config, bilinear_resize_kernel, x, y);
}
#endif

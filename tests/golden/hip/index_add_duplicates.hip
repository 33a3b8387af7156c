#include <hip/hip_runtime.h>

// Sizes. Everything below follows from them.
constexpr int ROWS = 512, COLS = 4096, SOURCES = 4096;
// Parameters of this variant.
constexpr int THREADS = 512;

extern "C" __global__ void __launch_bounds__(THREADS)
index_add_duplicates_kernel(const float* __restrict__ x, const long long* __restrict__ index,
                            const float* __restrict__ values, float* __restrict__ y) {
  const int row_index = blockIdx.x * THREADS + threadIdx.x;
  if (row_index >= ROWS * COLS) return;
  const int row = row_index / COLS;
  const int col = row_index % COLS;

  float total = 0.0f;
  // Sums of 64 terms are summed: one sequential sum of many would lose digits.
  float recent = 0.0f;
  int held = 0;
  for (int source = 0; source < SOURCES; ++source) {
    recent += index[source] == row ? values[source * COLS + col] : 0.0f;
    if (++held % 64 == 0) {
      total += recent;
      recent = 0.0f;
    }
  }
  total += recent;

  y[row_index] = x[row_index] + total;
}

#ifndef __HIPCC_RTC__
// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.
extern "C" hipError_t index_add_duplicates_f32(const float* x, const long long* index,
                                               const float* values, float* y, hipStream_t stream) {
  hipLaunchKernelGGL(index_add_duplicates_kernel, dim3((ROWS * COLS + THREADS - 1) / THREADS),
                     dim3(THREADS), 0, stream, x, index, values, y);
  return hipGetLastError();
}
#endif

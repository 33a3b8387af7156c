#include <limits>
#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int N = 32, C = 64, H = 112, W = 112, WINDOW_H = 3, WINDOW_W = 3, STRIDE_H = 2;
constexpr int STRIDE_W = 2, PAD_H = 1, PAD_W = 1, P = 56, Q = 56;
// Parameters of this variant.
constexpr int THREADS = 512;

constexpr float INFINITE = std::numeric_limits<float>::infinity();

// The larger of two; NaN wins, as in PyTorch.
inline float maximum(float a, float b) { return b > a || b != b ? b : a; }

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void max_pool2d_kernel(const float* x, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int row = item.get_group(0) * THREADS + item.get_local_linear_id();
  if (row >= N * C * P * Q) return;
  const int n = row / (C * P * Q);
  const int c = (row / (P * Q)) % C;
  const int p = (row / Q) % P;
  const int q = row % Q;

  float best = -INFINITE;
  for (int r = 0; r < WINDOW_H; ++r)
    for (int s = 0; s < WINDOW_W; ++s) {
      const int h = p * STRIDE_H + r - PAD_H;
      const int w = q * STRIDE_W + s - PAD_W;
      const bool inside = 0 <= h && h < H && 0 <= w && w < W;
      best = maximum(best, inside ? x[((n * C + c) * H + h) * W + w] : -INFINITE);
    }

  y[row] = best;
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event max_pool2d_f32(sycl::queue& queue, const float* x, float* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups((N * C * P * Q + THREADS - 1) / THREADS);
    const sycl::range<1> items(THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<max_pool2d_kernel>, x, y);
  });
}

#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int N = 32, C = 128, H = 112, W = 112, R = 3, S = 3, PAD_H = 1, PAD_W = 1, P = 112;
constexpr int Q = 112;
// Parameters of this variant.
constexpr int THREADS = 512;

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void depthwise_conv2d_kernel(const float* x, const float* weight, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int row = item.get_group(0) * THREADS + item.get_local_linear_id();
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

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event depthwise_conv2d_f32(sycl::queue& queue, const float* x, const float* weight,
                                 float* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups((N * C * P * Q + THREADS - 1) / THREADS);
    const sycl::range<1> items(THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<depthwise_conv2d_kernel>, x, weight, y);
  });
}

#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int N = 16, C = 32, H = 128, W = 128, P = 256, Q = 256;
// Parameters of this variant.
constexpr int THREADS = 512, ITEMS = 8;

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void bilinear_resize_kernel(const float* x, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int first = item.get_group(0) * (THREADS * ITEMS) + item.get_local_linear_id();
#pragma unroll
  for (int part = 0; part < ITEMS; ++part) {
    const int i_index = first + part * THREADS;
    if (i_index < N * C * P * Q) {
      const int i = i_index / (P * Q);
      const int p = (i_index / Q) % P;
      const int q = i_index % Q;
      const float h_at = 0.5f * ((float)p + 0.5f) - 0.5f;
      const float h_source = h_at < 0.0f ? 0.0f : h_at;
      const float h_floor = sycl::floor(h_source);
      const float h_fraction = h_source - h_floor;
      const float w_at = 0.5f * ((float)q + 0.5f) - 0.5f;
      const float w_source = w_at < 0.0f ? 0.0f : w_at;
      const float w_floor = sycl::floor(w_source);
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

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event bilinear_resize_f32(sycl::queue& queue, const float* x, float* y) {
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups((N * C * P * Q + THREADS * ITEMS - 1) / (THREADS * ITEMS));
    const sycl::range<1> items(THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<bilinear_resize_kernel>, x, y);
  });
}

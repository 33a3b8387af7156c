#include <limits>
#include <sycl/sycl.hpp>
namespace oneapi = sycl::ext::oneapi;
namespace exp_ = sycl::ext::oneapi::experimental;

// Sizes. Everything below follows from them.
constexpr int BATCH = 16384, CLASSES = 8192;
// Parameters of this variant.
constexpr int HIGHEST_THREADS = 512;
constexpr int CROSS_ENTROPY_THREADS = 64;

constexpr float INFINITE = std::numeric_limits<float>::infinity();

// The larger of two; NaN wins, as in PyTorch.
inline float maximum(float a, float b) { return b > a || b != b ? b : a; }

// Columns of a thread.
constexpr int HIGHEST_VALUES = (CLASSES + HIGHEST_THREADS - 1) / HIGHEST_THREADS;

// The largest of `value` over the work-group; every thread gets it.
inline float workgroup_max(float value, float* scratch, int threads) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int thread = item.get_local_linear_id();
  scratch[thread] = value;
  item.barrier(sycl::access::fence_space::local_space);
  for (int count = threads / 2; count > 0; count /= 2) {
    if (thread < count) {
      const float other = scratch[thread + count];
      scratch[thread] = maximum(scratch[thread], other);
    }
    item.barrier(sycl::access::fence_space::local_space);
  }
  value = scratch[0];
  item.barrier(sycl::access::fence_space::local_space);  // scratch may be written again
  return value;
}

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void highest_kernel(const float* logits, float* total, float* highest) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  exp_::work_group_static<float[HIGHEST_THREADS]> scratch;
  const int thread = item.get_local_linear_id();
  const int batch = item.get_group(0);

  float logits_value[HIGHEST_VALUES];

  float highest2 = -INFINITE;
#pragma unroll
  for (int part = 0; part < HIGHEST_VALUES; ++part) {
    const int classe = part * HIGHEST_THREADS + thread;
    if (classe < CLASSES) {
      logits_value[part] = logits[batch * CLASSES + classe];
      highest2 = maximum(highest2, logits_value[part]);
    }
  }

  highest2 = workgroup_max(highest2, scratch, HIGHEST_THREADS);

  float total2 = 0.0f;
#pragma unroll
  for (int part = 0; part < HIGHEST_VALUES; ++part) {
    const int classe = part * HIGHEST_THREADS + thread;
    if (classe < CLASSES) {
      total2 += sycl::exp(logits_value[part] - highest2);
    }
  }

  total2 = sycl::reduce_over_group(item.get_group(), total2, sycl::plus<>());

  if (thread == 0) {
    total[batch] = total2;
    highest[batch] = highest2;
  }
}

extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))
void cross_entropy_kernel(const float* logits, const long long* label, const float* total,
                          const float* highest, float* y) {
  const auto item = oneapi::this_work_item::get_nd_item<1>();
  const int thread = item.get_local_linear_id();
  const int row = item.get_group(0);

  float total2 = 0.0f;
  for (int batch = thread; batch < BATCH; batch += CROSS_ENTROPY_THREADS) {
    const long long label_value = label[batch];
    const int position = label_value != -100 ? label_value : 0;
    total2 += label_value != -100
              ? sycl::log(total[batch]) + (highest[batch] - logits[batch * CLASSES + position])
              : 0.0f;
  }

  total2 = sycl::reduce_over_group(item.get_group(), total2, sycl::plus<>());

  float total_weight = 0.0f;
  for (int batch = thread; batch < BATCH; batch += CROSS_ENTROPY_THREADS) {
    total_weight += label[batch] != -100 ? 1.0f : 0.0f;
  }

  total_weight = sycl::reduce_over_group(item.get_group(), total_weight, sycl::plus<>());
  const float cross_entropy_loss = total2 / total_weight;

  if (thread == 0) {
    y[0] = cross_entropy_loss;
  }
}

// Submits to `queue`; every pointer is a contiguous USM array, shapes above.
sycl::event cross_entropy_f32(sycl::queue& queue, const float* logits, const long long* label,
                              float* y, float* highest, float* total) {
  const auto step1 = exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    const sycl::range<1> groups(BATCH);
    const sycl::range<1> items(HIGHEST_THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<highest_kernel>, logits, total, highest);
  });
  return exp_::submit_with_event(queue, [&](sycl::handler& handler) {
    handler.depends_on(step1);
    const sycl::range<1> groups(1);
    const sycl::range<1> items(CROSS_ENTROPY_THREADS);
    exp_::nd_launch(handler, sycl::nd_range<1>(groups * items, items),
                    exp_::kernel_function<cross_entropy_kernel>, logits, label, total, highest,
                    y);
  });
}

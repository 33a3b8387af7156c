// Sizes. Everything below follows from them.
#define BATCH   16384
#define CLASSES 8192
// Parameters of this variant.
#define HIGHEST_THREADS 512
#define CROSS_ENTROPY_THREADS 64

// The larger of two; NaN wins, as in PyTorch.
float maximum(float a, float b) { return b > a || b != b ? b : a; }

#define HIGHEST_VALUES ((CLASSES + HIGHEST_THREADS - 1) / HIGHEST_THREADS)  // columns of a thread

// The largest of `value` over the work-group; every thread gets it.
float workgroup_max(float value, __local float* scratch, int threads) {
  const int thread = get_local_id(0);
  scratch[thread] = value;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int count = threads / 2; count > 0; count /= 2) {
    if (thread < count) {
      const float other = scratch[thread + count];
      scratch[thread] = maximum(scratch[thread], other);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  value = scratch[0];
  barrier(CLK_LOCAL_MEM_FENCE);  // scratch may be written again
  return value;
}

// The sum of `value` over the work-group; every thread gets it.
float workgroup_sum(float value, __local float* scratch, int threads) {
  const int thread = get_local_id(0);
  scratch[thread] = value;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int count = threads / 2; count > 0; count /= 2) {
    if (thread < count) {
      const float other = scratch[thread + count];
      scratch[thread] = scratch[thread] + other;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  value = scratch[0];
  barrier(CLK_LOCAL_MEM_FENCE);  // scratch may be written again
  return value;
}

__kernel __attribute__((reqd_work_group_size(HIGHEST_THREADS, 1, 1)))
void highest_kernel(__global const float* restrict logits, __global float* restrict total,
                    __global float* restrict highest) {
  __local float scratch[HIGHEST_THREADS];
  const int thread = get_local_id(0);
  const int batch = get_group_id(0);

  float logits_value[HIGHEST_VALUES];

  float highest2 = -INFINITY;
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
      total2 += exp(logits_value[part] - highest2);
    }
  }

  total2 = workgroup_sum(total2, scratch, HIGHEST_THREADS);

  if (thread == 0) {
    total[batch] = total2;
    highest[batch] = highest2;
  }
}

__kernel __attribute__((reqd_work_group_size(CROSS_ENTROPY_THREADS, 1, 1)))
void cross_entropy_kernel(__global const float* restrict logits,
                          __global const long* restrict label,
                          __global const float* restrict total,
                          __global const float* restrict highest, __global float* restrict y) {
  __local float scratch[CROSS_ENTROPY_THREADS];
  const int thread = get_local_id(0);
  const int row = get_group_id(0);

  float total2 = 0.0f;
  for (int batch = thread; batch < BATCH; batch += CROSS_ENTROPY_THREADS) {
    const long label_value = label[batch];
    const int position = label_value != -100 ? label_value : 0;
    total2 += label_value != -100
              ? log(total[batch]) + (highest[batch] - logits[batch * CLASSES + position])
              : 0.0f;
  }

  total2 = workgroup_sum(total2, scratch, CROSS_ENTROPY_THREADS);

  float total_weight = 0.0f;
  for (int batch = thread; batch < BATCH; batch += CROSS_ENTROPY_THREADS) {
    total_weight += label[batch] != -100 ? 1.0f : 0.0f;
  }

  total_weight = workgroup_sum(total_weight, scratch, CROSS_ENTROPY_THREADS);
  const float cross_entropy_loss = total2 / total_weight;

  if (thread == 0) {
    y[0] = cross_entropy_loss;
  }
}

#include <CL/cl.h>

// Sizes. Everything below follows from them.
#define T     128
#define B     64
#define I     256
#define H     512
#define GATES 1536
// Parameters of this variant.
#define X_GATES_L0_TILE_M 128
#define X_GATES_L0_TILE_N 128
#define X_GATES_L0_ITEM_M 8
#define X_GATES_L0_ITEM_N 8
#define H_L0_THREADS      512
#define H_L0_ITEMS        8
#define H_GATES_L0_TILE_M 64
#define H_GATES_L0_TILE_N 128
#define H_GATES_L0_ITEM_M 8
#define H_GATES_L0_ITEM_N 8
#define H_NEXT_L0_THREADS 512
#define H_NEXT_L0_ITEMS   8
#define X_GATES_L1_TILE_M 128
#define X_GATES_L1_TILE_N 128
#define X_GATES_L1_ITEM_M 8
#define X_GATES_L1_ITEM_N 8
#define H_L1_THREADS      512
#define H_L1_ITEMS        8
#define H_GATES_L1_TILE_M 64
#define H_GATES_L1_TILE_N 128
#define H_GATES_L1_ITEM_M 8
#define H_GATES_L1_ITEM_N 8
#define H_NEXT_L1_THREADS 512
#define H_NEXT_L1_ITEMS   8
#define HN_THREADS        512
#define HN_ITEMS          8

// Sets the arguments of a kernel and enqueues it.
typedef struct {
  size_t size;
  const void* value;
} argument;

static cl_int enqueue(cl_command_queue queue, cl_program program, const char* name,
                      cl_uint count, const argument* arguments, cl_uint rank,
                      const size_t* groups, const size_t* local, cl_event* event) {
  cl_int status;
  size_t total[3];
  cl_kernel kernel = clCreateKernel(program, name, &status);
  if (status != CL_SUCCESS) return status;
  for (cl_uint i = 0; i < count && status == CL_SUCCESS; ++i)
    status = clSetKernelArg(kernel, i, arguments[i].size, arguments[i].value);
  for (cl_uint axis = 0; axis < rank; ++axis) total[axis] = groups[axis] * local[axis];
  if (status == CL_SUCCESS)
    status = clEnqueueNDRangeKernel(queue, kernel, rank, NULL, total, local, 0, NULL, event);
  clReleaseKernel(kernel);  // the queue keeps it until it has run
  return status;
}

// Enqueues on an in-order queue; `program` is built from the .cl file.
cl_int gru_2layer_f32(cl_command_queue queue, cl_program program, cl_mem gru_weight_ih_l0,
                      cl_mem gru_weight_hh_l0, cl_mem gru_bias_ih_l0, cl_mem gru_bias_hh_l0,
                      cl_mem gru_weight_ih_l1, cl_mem gru_weight_hh_l1, cl_mem gru_bias_ih_l1,
                      cl_mem gru_bias_hh_l1, cl_mem x, cl_mem h0, cl_mem y1, cl_mem y2,
                      cl_mem x_gates_l0_biased, cl_mem h_l0, cl_mem h_gates_l0, cl_mem h_next_l0,
                      cl_mem y_l0, cl_mem x_gates_l1_biased, cl_mem h_l1, cl_mem h_gates_l1,
                      cl_mem h_next_l1, cl_event* event) {
  cl_int status = CL_SUCCESS;
  if (status == CL_SUCCESS) {
    const argument arguments[] = {
      {sizeof(cl_mem), &gru_weight_ih_l0},
      {sizeof(cl_mem), &gru_bias_ih_l0},
      {sizeof(cl_mem), &x},
      {sizeof(cl_mem), &x_gates_l0_biased},
    };
    const size_t groups[] = {(GATES + X_GATES_L0_TILE_N - 1) / X_GATES_L0_TILE_N,
                             (T * B + X_GATES_L0_TILE_M - 1) / X_GATES_L0_TILE_M};
    const size_t local[] = {(X_GATES_L0_TILE_M / X_GATES_L0_ITEM_M)
                            * (X_GATES_L0_TILE_N / X_GATES_L0_ITEM_N), 1};
    status = enqueue(queue, program, "x_gates_l0_kernel", 4, arguments, 2, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const argument arguments[] = {
      {sizeof(cl_mem), &h0},
      {sizeof(cl_mem), &h_l0},
    };
    const size_t groups[] = {(B * H + H_L0_THREADS * H_L0_ITEMS - 1) / (H_L0_THREADS * H_L0_ITEMS)};
    const size_t local[] = {H_L0_THREADS};
    status = enqueue(queue, program, "h_l0_kernel", 2, arguments, 1, groups, local, NULL);
  }
  for (int t = 0; t < T; ++t) {
    if (status == CL_SUCCESS) {
      const argument arguments[] = {
        {sizeof(cl_mem), &gru_weight_hh_l0},
        {sizeof(cl_mem), &h_l0},
        {sizeof(cl_mem), &h_gates_l0},
      };
      const size_t groups[] = {(GATES + H_GATES_L0_TILE_N - 1) / H_GATES_L0_TILE_N,
                               (B + H_GATES_L0_TILE_M - 1) / H_GATES_L0_TILE_M};
      const size_t local[] = {(H_GATES_L0_TILE_M / H_GATES_L0_ITEM_M)
                              * (H_GATES_L0_TILE_N / H_GATES_L0_ITEM_N), 1};
      status = enqueue(queue, program, "h_gates_l0_kernel", 3, arguments, 2, groups, local, NULL);
    }
    if (status == CL_SUCCESS) {
      const cl_long x_gates_l0_biased_first = (cl_long)t * (B * GATES);
      const cl_long y_l0_first = (cl_long)t * (B * H);
      const argument arguments[] = {
        {sizeof(cl_mem), &gru_bias_hh_l0},
        {sizeof(cl_mem), &x_gates_l0_biased},
        {sizeof(cl_long), &x_gates_l0_biased_first},
        {sizeof(cl_mem), &h_gates_l0},
        {sizeof(cl_mem), &h_l0},
        {sizeof(cl_mem), &h_next_l0},
        {sizeof(cl_mem), &y_l0},
        {sizeof(cl_long), &y_l0_first},
      };
      const size_t groups[] = {(B * H + H_NEXT_L0_THREADS * H_NEXT_L0_ITEMS - 1)
                               / (H_NEXT_L0_THREADS * H_NEXT_L0_ITEMS)};
      const size_t local[] = {H_NEXT_L0_THREADS};
      status = enqueue(queue, program, "h_next_l0_kernel", 8, arguments, 1, groups, local, NULL);
    }
    // What this round wrote is what the next one reads.
    const cl_mem h_l0_before = h_l0;
    h_l0 = h_next_l0;
    h_next_l0 = h_l0_before;
  }
  if (status == CL_SUCCESS) {
    const argument arguments[] = {
      {sizeof(cl_mem), &gru_weight_ih_l1},
      {sizeof(cl_mem), &gru_bias_ih_l1},
      {sizeof(cl_mem), &y_l0},
      {sizeof(cl_mem), &x_gates_l1_biased},
    };
    const size_t groups[] = {(GATES + X_GATES_L1_TILE_N - 1) / X_GATES_L1_TILE_N,
                             (T * B + X_GATES_L1_TILE_M - 1) / X_GATES_L1_TILE_M};
    const size_t local[] = {(X_GATES_L1_TILE_M / X_GATES_L1_ITEM_M)
                            * (X_GATES_L1_TILE_N / X_GATES_L1_ITEM_N), 1};
    status = enqueue(queue, program, "x_gates_l1_kernel", 4, arguments, 2, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const argument arguments[] = {
      {sizeof(cl_mem), &h0},
      {sizeof(cl_mem), &h_l1},
    };
    const size_t groups[] = {(B * H + H_L1_THREADS * H_L1_ITEMS - 1) / (H_L1_THREADS * H_L1_ITEMS)};
    const size_t local[] = {H_L1_THREADS};
    status = enqueue(queue, program, "h_l1_kernel", 2, arguments, 1, groups, local, NULL);
  }
  for (int t = 0; t < T; ++t) {
    if (status == CL_SUCCESS) {
      const argument arguments[] = {
        {sizeof(cl_mem), &gru_weight_hh_l1},
        {sizeof(cl_mem), &h_l1},
        {sizeof(cl_mem), &h_gates_l1},
      };
      const size_t groups[] = {(GATES + H_GATES_L1_TILE_N - 1) / H_GATES_L1_TILE_N,
                               (B + H_GATES_L1_TILE_M - 1) / H_GATES_L1_TILE_M};
      const size_t local[] = {(H_GATES_L1_TILE_M / H_GATES_L1_ITEM_M)
                              * (H_GATES_L1_TILE_N / H_GATES_L1_ITEM_N), 1};
      status = enqueue(queue, program, "h_gates_l1_kernel", 3, arguments, 2, groups, local, NULL);
    }
    if (status == CL_SUCCESS) {
      const cl_long x_gates_l1_biased_first = (cl_long)t * (B * GATES);
      const cl_long y1_first = (cl_long)t * (B * H);
      const argument arguments[] = {
        {sizeof(cl_mem), &gru_bias_hh_l1},
        {sizeof(cl_mem), &x_gates_l1_biased},
        {sizeof(cl_long), &x_gates_l1_biased_first},
        {sizeof(cl_mem), &h_gates_l1},
        {sizeof(cl_mem), &h_l1},
        {sizeof(cl_mem), &h_next_l1},
        {sizeof(cl_mem), &y1},
        {sizeof(cl_long), &y1_first},
      };
      const size_t groups[] = {(B * H + H_NEXT_L1_THREADS * H_NEXT_L1_ITEMS - 1)
                               / (H_NEXT_L1_THREADS * H_NEXT_L1_ITEMS)};
      const size_t local[] = {H_NEXT_L1_THREADS};
      status = enqueue(queue, program, "h_next_l1_kernel", 8, arguments, 1, groups, local, NULL);
    }
    // What this round wrote is what the next one reads.
    const cl_mem h_l1_before = h_l1;
    h_l1 = h_next_l1;
    h_next_l1 = h_l1_before;
  }
  if (status == CL_SUCCESS) {
    const argument arguments[] = {
      {sizeof(cl_mem), &h_l0},
      {sizeof(cl_mem), &h_l1},
      {sizeof(cl_mem), &y2},
    };
    const size_t groups[] = {(2 * B * H + HN_THREADS * HN_ITEMS - 1) / (HN_THREADS * HN_ITEMS)};
    const size_t local[] = {HN_THREADS};
    status = enqueue(queue, program, "hn_kernel", 3, arguments, 1, groups, local, event);
  }
  return status;
}

#include <CL/cl.h>

// Sizes. Everything below follows from them.
#define B 4
#define H 16
#define T 1024
#define D 64
// Parameters of this variant.
#define SCORES_TILE_M    128
#define SCORES_TILE_N    128
#define SCORES_ITEM_M    8
#define SCORES_ITEM_N    8
#define WEIGHTS_THREADS  64
#define ATTENTION_TILE_M 128
#define ATTENTION_TILE_N 64
#define ATTENTION_ITEM_M 8
#define ATTENTION_ITEM_N 8

// Sets the arguments of a kernel and enqueues it.
static cl_int enqueue(cl_command_queue queue, cl_program program, const char* name,
                      cl_uint count, const cl_mem* const* arguments, cl_uint rank,
                      const size_t* groups, const size_t* local, cl_event* event) {
  cl_int status;
  size_t total[3];
  cl_kernel kernel = clCreateKernel(program, name, &status);
  if (status != CL_SUCCESS) return status;
  for (cl_uint i = 0; i < count && status == CL_SUCCESS; ++i)
    status = clSetKernelArg(kernel, i, sizeof(cl_mem), arguments[i]);
  for (cl_uint axis = 0; axis < rank; ++axis) total[axis] = groups[axis] * local[axis];
  if (status == CL_SUCCESS)
    status = clEnqueueNDRangeKernel(queue, kernel, rank, NULL, total, local, 0, NULL, event);
  clReleaseKernel(kernel);  // the queue keeps it until it has run
  return status;
}

// Enqueues on an in-order queue; `program` is built from the .cl file.
cl_int causal_attention_fp16_f16(cl_command_queue queue, cl_program program, cl_mem q, cl_mem k,
                                 cl_mem v, cl_mem y, cl_mem scores, cl_mem weights,
                                 cl_event* event) {
  cl_int status = CL_SUCCESS;
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&q, &k, &scores};
    const size_t groups[] = {(T + SCORES_TILE_N - 1) / SCORES_TILE_N,
                             (T + SCORES_TILE_M - 1) / SCORES_TILE_M, B * H};
    const size_t local[] = {(SCORES_TILE_M / SCORES_ITEM_M) * (SCORES_TILE_N / SCORES_ITEM_N), 1,
                            1};
    status = enqueue(queue, program, "scores_kernel", 3, arguments, 3, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&scores, &weights};
    const size_t groups[] = {B * H * T};
    const size_t local[] = {WEIGHTS_THREADS};
    status = enqueue(queue, program, "weights_kernel", 2, arguments, 1, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&v, &weights, &y};
    const size_t groups[] = {(D + ATTENTION_TILE_N - 1) / ATTENTION_TILE_N,
                             (T + ATTENTION_TILE_M - 1) / ATTENTION_TILE_M, B * H};
    const size_t local[] = {(ATTENTION_TILE_M / ATTENTION_ITEM_M)
                            * (ATTENTION_TILE_N / ATTENTION_ITEM_N), 1, 1};
    status = enqueue(queue, program, "attention_kernel", 3, arguments, 3, groups, local, event);
  }
  return status;
}

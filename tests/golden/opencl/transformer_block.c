#include <CL/cl.h>

// Sizes. Everything below follows from them.
#define B     8
#define T     1024
#define D     768
#define HEADS 12
// Parameters of this variant.
#define LAYER_NORM_THREADS   64
#define LAYER_NORM_1_THREADS 64
#define LINEAR_TILE_M        64
#define LINEAR_TILE_N        128
#define LINEAR_ITEM_M        8
#define LINEAR_ITEM_N        8
#define LINEAR_1_TILE_M      64
#define LINEAR_1_TILE_N      64
#define LINEAR_1_ITEM_M      8
#define LINEAR_1_ITEM_N      8
#define LINEAR_2_TILE_M      64
#define LINEAR_2_TILE_N      128
#define LINEAR_2_ITEM_M      8
#define LINEAR_2_ITEM_N      8
#define LINEAR_3_TILE_M      64
#define LINEAR_3_TILE_N      64
#define LINEAR_3_ITEM_M      8
#define LINEAR_3_ITEM_N      8
#define SCORES_TILE_M        64
#define SCORES_TILE_N        64
#define SCORES_ITEM_M        8
#define SCORES_ITEM_N        8
#define WEIGHTS_THREADS      64
#define ATTENTION_TILE_M     64
#define ATTENTION_TILE_N     32
#define ATTENTION_ITEM_M     4
#define ATTENTION_ITEM_N     8

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
cl_int transformer_block_f32(cl_command_queue queue, cl_program program, cl_mem norm1_weight,
                             cl_mem norm1_bias, cl_mem qkv_weight, cl_mem qkv_bias,
                             cl_mem project_weight, cl_mem project_bias, cl_mem norm2_weight,
                             cl_mem norm2_bias, cl_mem wide_weight, cl_mem wide_bias,
                             cl_mem narrow_weight, cl_mem narrow_bias, cl_mem x, cl_mem y,
                             cl_mem layer_norm, cl_mem linear_bias, cl_mem scores, cl_mem weights,
                             cl_mem scaled_dot_product_attention, cl_mem linear_1,
                             cl_mem layer_norm_1, cl_mem gelu, cl_event* event) {
  cl_int status = CL_SUCCESS;
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&norm1_weight, &norm1_bias, &x, &layer_norm};
    const size_t groups[] = {B * T};
    const size_t local[] = {LAYER_NORM_THREADS};
    status = enqueue(queue, program, "layer_norm_kernel", 4, arguments, 1, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&qkv_weight, &qkv_bias, &layer_norm, &linear_bias};
    const size_t groups[] = {(3 * D + LINEAR_TILE_N - 1) / LINEAR_TILE_N,
                             (B * T + LINEAR_TILE_M - 1) / LINEAR_TILE_M};
    const size_t local[] = {(LINEAR_TILE_M / LINEAR_ITEM_M) * (LINEAR_TILE_N / LINEAR_ITEM_N), 1};
    status = enqueue(queue, program, "linear_kernel", 4, arguments, 2, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&linear_bias, &scores};
    const size_t groups[] = {(T + SCORES_TILE_N - 1) / SCORES_TILE_N,
                             (T + SCORES_TILE_M - 1) / SCORES_TILE_M, B * HEADS};
    const size_t local[] = {(SCORES_TILE_M / SCORES_ITEM_M) * (SCORES_TILE_N / SCORES_ITEM_N), 1,
                            1};
    status = enqueue(queue, program, "scores_kernel", 2, arguments, 3, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&scores, &weights};
    const size_t groups[] = {B * HEADS * T};
    const size_t local[] = {WEIGHTS_THREADS};
    status = enqueue(queue, program, "weights_kernel", 2, arguments, 1, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&weights, &linear_bias, &scaled_dot_product_attention};
    const size_t groups[] = {(D / HEADS + ATTENTION_TILE_N - 1) / ATTENTION_TILE_N,
                             (T + ATTENTION_TILE_M - 1) / ATTENTION_TILE_M, B * HEADS};
    const size_t local[] = {(ATTENTION_TILE_M / ATTENTION_ITEM_M)
                            * (ATTENTION_TILE_N / ATTENTION_ITEM_N), 1, 1};
    status = enqueue(queue, program, "attention_kernel", 3, arguments, 3, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&project_weight, &scaled_dot_product_attention, &linear_1};
    const size_t groups[] = {(D + LINEAR_1_TILE_N - 1) / LINEAR_1_TILE_N,
                             (B * T + LINEAR_1_TILE_M - 1) / LINEAR_1_TILE_M};
    const size_t local[] = {(LINEAR_1_TILE_M / LINEAR_1_ITEM_M)
                            * (LINEAR_1_TILE_N / LINEAR_1_ITEM_N), 1};
    status = enqueue(queue, program, "linear_1_kernel", 3, arguments, 2, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&project_bias, &norm2_weight, &norm2_bias, &x, &linear_1,
                                       &layer_norm_1};
    const size_t groups[] = {B * T};
    const size_t local[] = {LAYER_NORM_1_THREADS};
    status = enqueue(queue, program, "layer_norm_1_kernel", 6, arguments, 1, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&wide_weight, &wide_bias, &layer_norm_1, &gelu};
    const size_t groups[] = {(4 * D + LINEAR_2_TILE_N - 1) / LINEAR_2_TILE_N,
                             (B * T + LINEAR_2_TILE_M - 1) / LINEAR_2_TILE_M};
    const size_t local[] = {(LINEAR_2_TILE_M / LINEAR_2_ITEM_M)
                            * (LINEAR_2_TILE_N / LINEAR_2_ITEM_N), 1};
    status = enqueue(queue, program, "linear_2_kernel", 4, arguments, 2, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&project_bias, &narrow_weight, &narrow_bias, &x, &gelu,
                                       &linear_1, &y};
    const size_t groups[] = {(D + LINEAR_3_TILE_N - 1) / LINEAR_3_TILE_N,
                             (B * T + LINEAR_3_TILE_M - 1) / LINEAR_3_TILE_M};
    const size_t local[] = {(LINEAR_3_TILE_M / LINEAR_3_ITEM_M)
                            * (LINEAR_3_TILE_N / LINEAR_3_ITEM_N), 1};
    status = enqueue(queue, program, "linear_3_kernel", 7, arguments, 2, groups, local, event);
  }
  return status;
}

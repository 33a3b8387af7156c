#include <CL/cl.h>

// Sizes. Everything below follows from them.
#define N     32
#define C     64
#define K     128
#define H     56
#define W     56
#define PAD_H 1
#define PAD_W 1
#define P     56
#define Q     56
// Parameters of this variant.
#define CONV2D_TILE_M       128
#define CONV2D_TILE_N       128
#define CONV2D_ITEM_M       8
#define CONV2D_ITEM_N       8
#define RELU_THREADS        64
#define BATCH_COUNT_THREADS 128

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
cl_int conv2d_bn_train_relu_f32(cl_command_queue queue, cl_program program, cl_mem conv_weight,
                                cl_mem conv_bias, cl_mem norm_weight, cl_mem norm_bias,
                                cl_mem norm_running_mean, cl_mem norm_running_var,
                                cl_mem norm_num_batches_tracked, cl_mem x, cl_mem y, cl_mem conv2d,
                                cl_event* event) {
  cl_int status = CL_SUCCESS;
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&conv_weight, &x, &conv2d};
    const size_t groups[] = {(N * P * Q + CONV2D_TILE_N - 1) / CONV2D_TILE_N,
                             (K + CONV2D_TILE_M - 1) / CONV2D_TILE_M};
    const size_t local[] = {(CONV2D_TILE_M / CONV2D_ITEM_M) * (CONV2D_TILE_N / CONV2D_ITEM_N), 1};
    status = enqueue(queue, program, "conv2d_kernel", 3, arguments, 2, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&conv_bias, &norm_weight, &norm_bias, &norm_running_mean,
                                       &norm_running_var, &conv2d, &y};
    const size_t groups[] = {K};
    const size_t local[] = {RELU_THREADS};
    status = enqueue(queue, program, "relu_kernel", 7, arguments, 1, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&norm_num_batches_tracked};
    const size_t groups[] = {1};
    const size_t local[] = {BATCH_COUNT_THREADS};
    status = enqueue(queue, program, "batch_count_kernel", 1, arguments, 1, groups, local, event);
  }
  return status;
}

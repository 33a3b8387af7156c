#include <CL/cl.h>

// Sizes. Everything below follows from them.
#define N       32
#define H       56
#define W       56
#define R       3
#define S       3
#define PAD_H   1
#define PAD_W   1
#define P       56
#define Q       56
#define GROUPS  4
#define GROUP_C 64
#define GROUP_K 64
// Parameters of this variant.
#define TILE_M 64
#define TILE_N 128
#define ITEM_M 8
#define ITEM_N 8

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
cl_int grouped_conv2d_f32(cl_command_queue queue, cl_program program, cl_mem x, cl_mem weight,
                          cl_mem bias, cl_mem y, cl_event* event) {
  const cl_mem* const arguments[] = {&x, &weight, &bias, &y};
  const size_t groups[] = {(N * P * Q + TILE_N - 1) / TILE_N, (GROUP_K + TILE_M - 1) / TILE_M,
                           GROUPS};
  const size_t local[] = {(TILE_M / ITEM_M) * (TILE_N / ITEM_N), 1, 1};
  return enqueue(queue, program, "grouped_conv2d_kernel", 4, arguments, 3, groups, local, event);
}

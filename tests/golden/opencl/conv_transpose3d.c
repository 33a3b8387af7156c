#include <CL/cl.h>

// Sizes. Everything below follows from them.
#define N        4
#define C        64
#define D        16
#define H        32
#define W        32
#define K        32
#define T        3
#define R        3
#define S        3
#define STRIDE_D 2
#define STRIDE_H 2
#define STRIDE_W 2
#define PAD_D    1
#define PAD_H    1
#define PAD_W    1
#define O        32
#define P        64
#define Q        64
// Parameters of this variant.
#define TILE_M 32
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
cl_int conv_transpose3d_f32(cl_command_queue queue, cl_program program, cl_mem x, cl_mem weight,
                            cl_mem y, cl_event* event) {
  const cl_mem* const arguments[] = {&x, &weight, &y};
  const size_t groups[] = {(N * O * P * Q + TILE_N - 1) / TILE_N, (K + TILE_M - 1) / TILE_M};
  const size_t local[] = {(TILE_M / ITEM_M) * (TILE_N / ITEM_N), 1};
  return enqueue(queue, program, "conv_transpose3d_kernel", 3, arguments, 2, groups, local,
                 event);
}

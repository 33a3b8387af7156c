// SPDX-License-Identifier: Apache-2.0
// Host launcher of matmul.cl: float32: a[M, K] @ b[K, N] -> c[M, N]; M = 1000, N = 1000, K = 1000.
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

// Sizes, as in matmul.cl.
#define M 1000
#define N 1000
#define K 1000

// Parameters of this variant, as in matmul.cl.
#define TILE_M 64
#define TILE_N 64
#define ITEMS_X 16
#define ITEMS_Y 16

// Enqueues on `queue`; a, b and c are row-major buffers of floats, `program` is matmul.cl, built.
// `event` may be NULL. Returns CL_SUCCESS or the first error.
cl_int matmul_f32(cl_command_queue queue, cl_program program, cl_mem a, cl_mem b, cl_mem c,
                  cl_event* event) {
  const size_t local[2] = {ITEMS_X, ITEMS_Y};
  const size_t global[2] = {(N + TILE_N - 1) / TILE_N * (size_t)ITEMS_X,
                            (M + TILE_M - 1) / TILE_M * (size_t)ITEMS_Y};
  cl_int status;
  cl_kernel kernel = clCreateKernel(program, "matmul_kernel", &status);
  if (status != CL_SUCCESS) return status;
  status = clSetKernelArg(kernel, 0, sizeof a, &a);
  if (status == CL_SUCCESS) status = clSetKernelArg(kernel, 1, sizeof b, &b);
  if (status == CL_SUCCESS) status = clSetKernelArg(kernel, 2, sizeof c, &c);
  if (status == CL_SUCCESS)
    status = clEnqueueNDRangeKernel(queue, kernel, 2, NULL, global, local, 0, NULL, event);
  clReleaseKernel(kernel);  // the runtime keeps it until the launch has ended
  return status;
}

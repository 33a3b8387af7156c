// SPDX-License-Identifier: Apache-2.0
// Host launcher of softmax.cl: softmax over the last axis, float32: x[4096, 1000] -> y[4096, 1000].
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

// Sizes, as in softmax.cl.
#define ROWS 4096
#define COLS 1000

// Parameters of this variant, as in softmax.cl.
#define ITEMS 256

// Enqueues on `queue`; x and y are buffers of ROWS * COLS floats, `program` is softmax.cl, built.
// `event` may be NULL. Returns CL_SUCCESS or the first error.
cl_int softmax_f32(cl_command_queue queue, cl_program program, cl_mem x, cl_mem y, cl_event* event) {
  const size_t local[1] = {ITEMS};
  const size_t global[1] = {(size_t)ROWS * ITEMS};
  cl_int status;
  cl_kernel kernel = clCreateKernel(program, "softmax_kernel", &status);
  if (status != CL_SUCCESS) return status;
  status = clSetKernelArg(kernel, 0, sizeof x, &x);
  if (status == CL_SUCCESS) status = clSetKernelArg(kernel, 1, sizeof y, &y);
  if (status == CL_SUCCESS)
    status = clEnqueueNDRangeKernel(queue, kernel, 1, NULL, global, local, 0, NULL, event);
  clReleaseKernel(kernel);  // the runtime keeps it until the launch has ended
  return status;
}

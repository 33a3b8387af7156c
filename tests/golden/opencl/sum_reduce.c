#include <CL/cl.h>

// Sizes. Everything below follows from them.
#define ROWS 8192
#define COLS 8192
// Parameters of this variant.
#define THREADS 64

// Sets the arguments of a kernel and enqueues it.
static cl_int enqueue(cl_command_queue queue, cl_program program, const char* name,
                      cl_uint count, const cl_mem* const* arguments, cl_uint rank,
                      const size_t* total, const size_t* local, cl_event* event) {
  cl_int status;
  cl_kernel kernel = clCreateKernel(program, name, &status);
  if (status != CL_SUCCESS) return status;
  for (cl_uint i = 0; i < count && status == CL_SUCCESS; ++i)
    status = clSetKernelArg(kernel, i, sizeof(cl_mem), arguments[i]);
  if (status == CL_SUCCESS)
    status = clEnqueueNDRangeKernel(queue, kernel, rank, NULL, total, local, 0, NULL, event);
  clReleaseKernel(kernel);  // the queue keeps it until it has run
  return status;
}

// Enqueues on an in-order queue; `program` is built from the .cl file.
cl_int sum_reduce_f32(cl_command_queue queue, cl_program program, cl_mem x, cl_mem y,
                      cl_event* event) {
  cl_int status = CL_SUCCESS;
  if (status == CL_SUCCESS) {
    const size_t local[] = {(size_t)(THREADS)};
    const size_t total[] = {(ROWS) * (size_t)(THREADS)};
    const cl_mem* const arguments[] = {&x, &y};
    status = enqueue(queue, program, "sum_reduce_kernel", 2, arguments, 1, total, local, event);
  }
  return status;
}

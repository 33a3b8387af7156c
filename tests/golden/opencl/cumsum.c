#include <CL/cl.h>

// Sizes. Everything below follows from them.
#define ROWS 4096
#define COLS 32768
// Parameters of this variant.
#define THREADS 128

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
cl_int cumsum_f32(cl_command_queue queue, cl_program program, cl_mem x, cl_mem y, cl_event* event) {
  const cl_mem* const arguments[] = {&x, &y};
  const size_t groups[] = {ROWS};
  const size_t local[] = {THREADS};
  return enqueue(queue, program, "cumsum_kernel", 2, arguments, 1, groups, local, event);
}

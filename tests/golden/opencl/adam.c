#include <CL/cl.h>

// Sizes. Everything below follows from them.
#define SIZE 33554432
// Parameters of this variant.
#define THREADS 512
#define ITEMS   8

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
cl_int adam_f32(cl_command_queue queue, cl_program program, cl_mem parameter, cl_mem gradient,
                cl_mem mean, cl_mem square, cl_mem y1, cl_mem y2, cl_mem y3, cl_event* event) {
  const cl_mem* const arguments[] = {&parameter, &gradient, &mean, &square, &y2, &y3, &y1};
  const size_t groups[] = {(SIZE + THREADS * ITEMS - 1) / (THREADS * ITEMS)};
  const size_t local[] = {THREADS};
  return enqueue(queue, program, "adam_kernel", 7, arguments, 1, groups, local, event);
}

#include <CL/cl.h>

// Sizes. Everything below follows from them.
#define BATCH   16384
#define CLASSES 8192
// Parameters of this variant.
#define HIGHEST_THREADS       512
#define CROSS_ENTROPY_THREADS 64

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
cl_int cross_entropy_f32(cl_command_queue queue, cl_program program, cl_mem logits, cl_mem label,
                         cl_mem y, cl_mem highest, cl_mem total, cl_event* event) {
  cl_int status = CL_SUCCESS;
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&logits, &total, &highest};
    const size_t groups[] = {BATCH};
    const size_t local[] = {HIGHEST_THREADS};
    status = enqueue(queue, program, "highest_kernel", 3, arguments, 1, groups, local, NULL);
  }
  if (status == CL_SUCCESS) {
    const cl_mem* const arguments[] = {&logits, &label, &total, &highest, &y};
    const size_t groups[] = {1};
    const size_t local[] = {CROSS_ENTROPY_THREADS};
    status = enqueue(queue, program, "cross_entropy_kernel", 5, arguments, 1, groups, local, event);
  }
  return status;
}

// The part of HIP's runtime that kernels and launchers of one file use, on the host.
#pragma once
#ifndef MKGEN_SIMT_HIP
#define MKGEN_SIMT_HIP 1
#endif
#include "../mkgen_simt_device.hpp"

enum hipError_t {
  hipSuccess = 0,
  hipErrorInvalidValue = 1,
  hipErrorInvalidConfiguration = 9,
  hipErrorLaunchFailure = 719,
  hipErrorNotSupported = 801,
};
using hipStream_t = struct ihipStream_t*;
enum hipFuncAttribute { hipFuncAttributeMaxDynamicSharedMemorySize = 8, hipFuncAttributePreferredSharedMemoryCarveout = 9 };

#define MKGEN_SIMT_API(name) hip##name
#include "../mkgen_simt_runtime.inc"
#undef MKGEN_SIMT_API

#define hipThreadIdx_x threadIdx.x
#define hipThreadIdx_y threadIdx.y
#define hipThreadIdx_z threadIdx.z
#define hipBlockIdx_x blockIdx.x
#define hipBlockIdx_y blockIdx.y
#define hipBlockIdx_z blockIdx.z
#define hipBlockDim_x blockDim.x
#define hipBlockDim_y blockDim.y
#define hipBlockDim_z blockDim.z
#define hipGridDim_x gridDim.x
#define hipGridDim_y gridDim.y
#define hipGridDim_z gridDim.z
#define HIP_KERNEL_NAME(...) __VA_ARGS__

namespace mkgen_simt {
template <class... P>
void hip_launch(const char* text, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, hipStream_t,
                typename Exactly<P>::type... arguments) {
  char name[96];
  name_in(text, 0, name);
  remember(status_to_error(launch(name, grid, block, shared, MKGEN_SIMT_SHARED_LIMIT, kernel, arguments...)));
}
}  // namespace mkgen_simt

// A macro in HIP too; its error is seen by hipGetLastError.
#define hipLaunchKernelGGL(...) ::mkgen_simt::hip_launch(#__VA_ARGS__, __VA_ARGS__)

static inline hipError_t hipFuncSetAttribute(const void*, hipFuncAttribute attribute, int value) {
  if (attribute != hipFuncAttributeMaxDynamicSharedMemorySize || (value >= 0 && value <= MKGEN_SIMT_SHARED_LIMIT))
    return hipSuccess;
  mkgen_simt::explain("hipFuncSetAttribute refused: %d bytes of dynamic shared memory, the device has %d", value,
                      static_cast<int>(MKGEN_SIMT_SHARED_LIMIT));
  return mkgen_simt::remember(hipErrorInvalidValue);
}
template <class... P>
hipError_t hipFuncSetAttribute(void (*kernel)(P...), hipFuncAttribute attribute, int value) {
  return hipFuncSetAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}

// Among the lanes that arrive together; a lane that did not arrive reads as all bits set.
#define MKGEN_SIMT_SHUFFLE(name, op)                                                                      \
  template <class T>                                                                                      \
  inline T name(T value, int argument, int width = warpSize, int line = __builtin_LINE()) {               \
    return mkgen_simt::shuffle(mkgen_simt::Op::op, #name, line, true, 0, value, argument, width);         \
  }
MKGEN_SIMT_SHUFFLE(__shfl, Index)
MKGEN_SIMT_SHUFFLE(__shfl_up, Up)
MKGEN_SIMT_SHUFFLE(__shfl_down, Down)
MKGEN_SIMT_SHUFFLE(__shfl_xor, Xor)
#undef MKGEN_SIMT_SHUFFLE

static inline unsigned long long __ballot(int predicate, int line = __builtin_LINE()) {
  return mkgen_simt::vote(mkgen_simt::Op::Ballot, "__ballot", line, true, 0, predicate != 0);
}
static inline int __any(int predicate, int line = __builtin_LINE()) {
  return static_cast<int>(mkgen_simt::vote(mkgen_simt::Op::Any, "__any", line, true, 0, predicate != 0));
}
static inline int __all(int predicate, int line = __builtin_LINE()) {
  return static_cast<int>(mkgen_simt::vote(mkgen_simt::Op::All, "__all", line, true, 0, predicate != 0));
}
static inline unsigned __lane_id() { return static_cast<unsigned>(mkgen_simt::machine.current % mkgen_simt::kLanes); }
template <class T>
inline T unsafeAtomicAdd(T* address, typename mkgen_simt::Atomic<T>::type value) { return atomicAdd(address, value); }

// The barriers that AMD's compiler has built in. The fences order memory, which is in order here.
#define __builtin_amdgcn_s_barrier() __syncthreads()
#define __builtin_amdgcn_wave_barrier() \
  ((void)::mkgen_simt::vote(::mkgen_simt::Op::Sync, "wave_barrier", __LINE__, true, 0, false))
#define __builtin_amdgcn_fence(...) ((void)0)

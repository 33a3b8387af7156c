// Enough of HIP's device language for clang's AMDGPU target where ROCm is not installed: indices,
// shared memory, barriers, shuffles, atomics, vector types, math, and the declarations a host
// launcher needs to parse. Names are HIP's own; text written against ROCm compiles unchanged.
// Names that begin with __mkgen_hip are private.
#pragma once

#define HIP_INCLUDE_HIP_HIP_RUNTIME_H

#define __host__ __attribute__((host))
#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __noinline__ __attribute__((noinline))
#define __forceinline__ inline __attribute__((always_inline))

// The second argument, minimum blocks per multiprocessor, is read by HIP as waves per execution unit.
#define __mkgen_hip_bounds1(threads) __attribute__((amdgpu_flat_work_group_size(1, threads)))
#define __mkgen_hip_bounds2(threads, waves) \
  __attribute__((amdgpu_flat_work_group_size(1, threads), amdgpu_waves_per_eu(waves)))
#define __mkgen_hip_pick(_1, _2, NAME, ...) NAME
#define __launch_bounds__(...) \
  __mkgen_hip_pick(__VA_ARGS__, __mkgen_hip_bounds2, __mkgen_hip_bounds1, )(__VA_ARGS__)

#define HIP_DYNAMIC_SHARED(type, var) extern __shared__ type var[];

#include "mkgen_hip_types.h"

#define __mkgen_hip_fn static __device__ inline __attribute__((always_inline))

// --- indices -------------------------------------------------------------------------------------

__mkgen_hip_fn unsigned __mkgen_hip_grid(int axis) {
  // hidden_block_count_{x,y,z} open the implicit arguments of code object v5.
  return ((const __attribute__((address_space(4))) unsigned*)__builtin_amdgcn_implicitarg_ptr())[axis];
}
#define __mkgen_hip_index(NAME, X, Y, Z)                                                     \
  struct __mkgen_hip_##NAME {                                                                \
    __declspec(property(get = __x)) unsigned x;                                              \
    __declspec(property(get = __y)) unsigned y;                                              \
    __declspec(property(get = __z)) unsigned z;                                              \
    __mkgen_hip_member unsigned __x() const { return X; }                                    \
    __mkgen_hip_member unsigned __y() const { return Y; }                                    \
    __mkgen_hip_member unsigned __z() const { return Z; }                                    \
    __device__ operator dim3() const { return dim3(__x(), __y(), __z()); }                   \
  };                                                                                         \
  extern const __device__ __attribute__((weak)) __mkgen_hip_##NAME NAME;
#define __mkgen_hip_member __device__ inline __attribute__((always_inline))
__mkgen_hip_index(threadIdx, __builtin_amdgcn_workitem_id_x(), __builtin_amdgcn_workitem_id_y(),
                  __builtin_amdgcn_workitem_id_z())
__mkgen_hip_index(blockIdx, __builtin_amdgcn_workgroup_id_x(), __builtin_amdgcn_workgroup_id_y(),
                  __builtin_amdgcn_workgroup_id_z())
__mkgen_hip_index(blockDim, __builtin_amdgcn_workgroup_size_x(), __builtin_amdgcn_workgroup_size_y(),
                  __builtin_amdgcn_workgroup_size_z())
__mkgen_hip_index(gridDim, __mkgen_hip_grid(0), __mkgen_hip_grid(1), __mkgen_hip_grid(2))

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

struct __mkgen_hip_warp_size {
  __device__ inline __attribute__((always_inline)) operator int() const {
    return __builtin_amdgcn_wavefrontsize();
  }
};
extern const __device__ __attribute__((weak)) __mkgen_hip_warp_size warpSize;

// --- barriers and fences -------------------------------------------------------------------------

// A barrier is convergent: the optimiser may not move it into a branch.
static __device__ inline __attribute__((always_inline, convergent)) void __syncthreads() {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
__mkgen_hip_fn void __threadfence_block() { __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, "workgroup"); }
__mkgen_hip_fn void __threadfence() { __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, "agent"); }
__mkgen_hip_fn void __threadfence_system() { __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, ""); }

// --- lanes of a wave -----------------------------------------------------------------------------

__mkgen_hip_fn int __lane_id() {
  return __builtin_amdgcn_mbcnt_hi(~0u, __builtin_amdgcn_mbcnt_lo(~0u, 0));
}

// `value` of the wave's lane `from`, word by word.
template <class T>
static __device__ inline __attribute__((always_inline, convergent)) T __mkgen_hip_fetch(T value,
                                                                                        int from) {
  constexpr int words = (sizeof(T) + 3) / 4;
  int in[words] = {}, out[words];
  __builtin_memcpy(in, &value, sizeof(T));
  for (int i = 0; i < words; ++i) out[i] = __builtin_amdgcn_ds_bpermute(from << 2, in[i]);
  __builtin_memcpy(&value, out, sizeof(T));
  return value;
}
template <class T> __mkgen_hip_fn T __shfl(T value, int lane, int width = warpSize) {
  const int self = __lane_id();
  return __mkgen_hip_fetch(value, (lane & (width - 1)) + (self & ~(width - 1)));
}
template <class T> __mkgen_hip_fn T __shfl_up(T value, unsigned delta, int width = warpSize) {
  const int self = __lane_id(), from = self - int(delta);
  return __mkgen_hip_fetch(value, from < (self & ~(width - 1)) ? self : from);
}
template <class T> __mkgen_hip_fn T __shfl_down(T value, unsigned delta, int width = warpSize) {
  const int self = __lane_id(), from = self + int(delta);
  return __mkgen_hip_fetch(value, int((self & (width - 1)) + delta) >= width ? self : from);
}
template <class T> __mkgen_hip_fn T __shfl_xor(T value, int mask, int width = warpSize) {
  const int self = __lane_id(), from = self ^ mask;
  return __mkgen_hip_fetch(value, from >= ((self + width) & ~(width - 1)) ? self : from);
}
__mkgen_hip_fn unsigned long long __ballot(int predicate) {
#if defined(__GFX9__) || defined(__GFX8__)
  return __builtin_amdgcn_ballot_w64(predicate != 0);
#else
  return __builtin_amdgcn_ballot_w32(predicate != 0);
#endif
}
__mkgen_hip_fn int __any(int predicate) { return __ballot(predicate) != 0; }
__mkgen_hip_fn int __all(int predicate) { return __ballot(!predicate) == 0; }

#include "mkgen_hip_atomics.h"
#include "mkgen_hip_math.h"
#include "mkgen_hip_host.h"

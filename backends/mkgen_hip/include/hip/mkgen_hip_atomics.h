// Atomics on global and shared memory, relaxed and device-wide, as HIP's are.
#pragma once

#define __mkgen_hip_atomic(T)                                                                      \
  __mkgen_hip_fn T atomicAdd(T* at, T value) {                                                     \
    return __hip_atomic_fetch_add(at, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);          \
  }                                                                                                \
  __mkgen_hip_fn T atomicSub(T* at, T value) {                                                     \
    return __hip_atomic_fetch_add(at, -value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);         \
  }                                                                                                \
  __mkgen_hip_fn T atomicExch(T* at, T value) {                                                    \
    return __hip_atomic_exchange(at, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);           \
  }                                                                                                \
  __mkgen_hip_fn T atomicMin(T* at, T value) {                                                     \
    return __hip_atomic_fetch_min(at, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);          \
  }                                                                                                \
  __mkgen_hip_fn T atomicMax(T* at, T value) {                                                     \
    return __hip_atomic_fetch_max(at, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);          \
  }                                                                                                \
  __mkgen_hip_fn T atomicCAS(T* at, T expected, T value) {                                         \
    __hip_atomic_compare_exchange_strong(at, &expected, value, __ATOMIC_RELAXED, __ATOMIC_RELAXED, \
                                         __HIP_MEMORY_SCOPE_AGENT);                                \
    return expected;                                                                               \
  }
#define __mkgen_hip_atomic_bits(T)                                                                 \
  __mkgen_hip_fn T atomicAnd(T* at, T value) {                                                     \
    return __hip_atomic_fetch_and(at, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);          \
  }                                                                                                \
  __mkgen_hip_fn T atomicOr(T* at, T value) {                                                      \
    return __hip_atomic_fetch_or(at, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);           \
  }                                                                                                \
  __mkgen_hip_fn T atomicXor(T* at, T value) {                                                     \
    return __hip_atomic_fetch_xor(at, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);          \
  }
__mkgen_hip_atomic(int)
__mkgen_hip_atomic(unsigned)
__mkgen_hip_atomic(unsigned long)
__mkgen_hip_atomic(unsigned long long)
__mkgen_hip_atomic(float)
__mkgen_hip_atomic(double)
__mkgen_hip_atomic_bits(int)
__mkgen_hip_atomic_bits(unsigned)
__mkgen_hip_atomic_bits(unsigned long long)

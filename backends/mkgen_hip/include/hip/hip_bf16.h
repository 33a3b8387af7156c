// bfloat16: `__hip_bfloat16`, conversions that round to nearest even, and arithmetic that rounds
// the float32 result once more, as HIP's does.
#pragma once
#include "hip_runtime.h"

struct __hip_bfloat16 {
  unsigned short __x;
  __hip_bfloat16() = default;
  __host__ __device__ __hip_bfloat16(float value) : __x(__mkgen_hip_round(value)) {}
  __host__ __device__ explicit __hip_bfloat16(double value) : __x(__mkgen_hip_round(float(value))) {}
  __host__ __device__ explicit __hip_bfloat16(int value) : __x(__mkgen_hip_round(float(value))) {}
  __host__ __device__ operator float() const {
    return __builtin_bit_cast(float, (unsigned)__x << 16);
  }
  static __host__ __device__ unsigned short __mkgen_hip_round(float value) {
    const unsigned bits = __builtin_bit_cast(unsigned, value);
    if (value != value) return (bits >> 16) | 0x40;  // keep a NaN a NaN, and quiet
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  }
};
struct __attribute__((aligned(4))) __hip_bfloat162 { __hip_bfloat16 x, y; };

__mkgen_hip_fn float __bfloat162float(__hip_bfloat16 x) { return float(x); }
__mkgen_hip_fn __hip_bfloat16 __float2bfloat16(float x) { return __hip_bfloat16(x); }
__mkgen_hip_fn __hip_bfloat16 __float2bfloat16_rn(float x) { return __hip_bfloat16(x); }
__mkgen_hip_fn __hip_bfloat16 __double2bfloat16(double x) { return __hip_bfloat16(x); }
__mkgen_hip_fn unsigned short __bfloat16_as_ushort(__hip_bfloat16 x) { return x.__x; }
__mkgen_hip_fn __hip_bfloat16 __ushort_as_bfloat16(unsigned short x) {
  __hip_bfloat16 value;
  value.__x = x;
  return value;
}

#define __mkgen_hip_bf16_op(OP)                                                             \
  __mkgen_hip_fn __hip_bfloat16 operator OP(const __hip_bfloat16& x, const __hip_bfloat16& y) { \
    return __hip_bfloat16(float(x) OP float(y));                                            \
  }                                                                                         \
  __mkgen_hip_fn __hip_bfloat16& operator OP##=(__hip_bfloat16& x, const __hip_bfloat16& y) { \
    return x = x OP y;                                                                      \
  }
#define __mkgen_hip_bf16_compare(OP)                                                        \
  __mkgen_hip_fn bool operator OP(const __hip_bfloat16& x, const __hip_bfloat16& y) {       \
    return float(x) OP float(y);                                                            \
  }
__mkgen_hip_bf16_op(+)
__mkgen_hip_bf16_op(-)
__mkgen_hip_bf16_op(*)
__mkgen_hip_bf16_op(/)
__mkgen_hip_bf16_compare(==)
__mkgen_hip_bf16_compare(!=)
__mkgen_hip_bf16_compare(<)
__mkgen_hip_bf16_compare(<=)
__mkgen_hip_bf16_compare(>)
__mkgen_hip_bf16_compare(>=)
__mkgen_hip_fn __hip_bfloat16 operator-(const __hip_bfloat16& x) {
  return __ushort_as_bfloat16(x.__x ^ 0x8000);
}
__mkgen_hip_fn __hip_bfloat16 __hadd(__hip_bfloat16 x, __hip_bfloat16 y) { return x + y; }
__mkgen_hip_fn __hip_bfloat16 __hsub(__hip_bfloat16 x, __hip_bfloat16 y) { return x - y; }
__mkgen_hip_fn __hip_bfloat16 __hmul(__hip_bfloat16 x, __hip_bfloat16 y) { return x * y; }
__mkgen_hip_fn __hip_bfloat16 __hfma(__hip_bfloat16 x, __hip_bfloat16 y, __hip_bfloat16 z) {
  return __hip_bfloat16(__builtin_fmaf(float(x), float(y), float(z)));
}
__mkgen_hip_fn __hip_bfloat16 __hmax(__hip_bfloat16 x, __hip_bfloat16 y) {
  return __hip_bfloat16(__builtin_fmaxf(float(x), float(y)));
}
__mkgen_hip_fn __hip_bfloat16 __hmin(__hip_bfloat16 x, __hip_bfloat16 y) {
  return __hip_bfloat16(__builtin_fminf(float(x), float(y)));
}
__mkgen_hip_fn bool __hisnan(__hip_bfloat16 x) { return x != x; }

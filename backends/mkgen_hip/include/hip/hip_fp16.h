// Half precision: `__half` (`half`), its arithmetic and conversions, and pairs. Operators round
// once, in half precision, as HIP's do.
#pragma once
#include "hip_runtime.h"

struct __half {
  _Float16 __mkgen_hip_value;
  __half() = default;
  __host__ __device__ __half(_Float16 value) : __mkgen_hip_value(value) {}
  __host__ __device__ __half(float value) : __mkgen_hip_value(_Float16(value)) {}
  __host__ __device__ __half(double value) : __mkgen_hip_value(_Float16(value)) {}
  __host__ __device__ __half(int value) : __mkgen_hip_value(_Float16(value)) {}
  __host__ __device__ __half(unsigned value) : __mkgen_hip_value(_Float16(value)) {}
  __host__ __device__ __half(long long value) : __mkgen_hip_value(_Float16(value)) {}
  __host__ __device__ operator float() const { return float(__mkgen_hip_value); }
  __host__ __device__ operator _Float16() const { return __mkgen_hip_value; }
};
typedef __half half;
struct __attribute__((aligned(4))) __half2 { __half x, y; };
typedef __half2 half2;

#define __mkgen_hip_half_op(OP)                                                       \
  __mkgen_hip_fn __half operator OP(const __half& x, const __half& y) {               \
    return __half(_Float16(x.__mkgen_hip_value OP y.__mkgen_hip_value));              \
  }                                                                                   \
  __mkgen_hip_fn __half& operator OP##=(__half& x, const __half& y) {                 \
    return x = x OP y;                                                                \
  }
#define __mkgen_hip_half_compare(OP)                                                  \
  __mkgen_hip_fn bool operator OP(const __half& x, const __half& y) {                 \
    return x.__mkgen_hip_value OP y.__mkgen_hip_value;                                \
  }
__mkgen_hip_half_op(+)
__mkgen_hip_half_op(-)
__mkgen_hip_half_op(*)
__mkgen_hip_half_op(/)
__mkgen_hip_half_compare(==)
__mkgen_hip_half_compare(!=)
__mkgen_hip_half_compare(<)
__mkgen_hip_half_compare(<=)
__mkgen_hip_half_compare(>)
__mkgen_hip_half_compare(>=)
__mkgen_hip_fn __half operator-(const __half& x) { return __half(_Float16(-x.__mkgen_hip_value)); }

__mkgen_hip_fn float __half2float(__half x) { return float(x.__mkgen_hip_value); }
__mkgen_hip_fn __half __float2half(float x) { return __half(x); }
__mkgen_hip_fn __half __float2half_rn(float x) { return __half(x); }
__mkgen_hip_fn __half __double2half(double x) { return __half(x); }
__mkgen_hip_fn __half __int2half_rn(int x) { return __half(x); }
__mkgen_hip_fn int __half2int_rn(__half x) { return int(__builtin_rintf(float(x))); }
__mkgen_hip_fn unsigned short __half_as_ushort(__half x) {
  return __builtin_bit_cast(unsigned short, x.__mkgen_hip_value);
}
__mkgen_hip_fn __half __ushort_as_half(unsigned short x) {
  return __half(__builtin_bit_cast(_Float16, x));
}
__mkgen_hip_fn __half __hadd(__half x, __half y) { return x + y; }
__mkgen_hip_fn __half __hsub(__half x, __half y) { return x - y; }
__mkgen_hip_fn __half __hmul(__half x, __half y) { return x * y; }
__mkgen_hip_fn __half __hdiv(__half x, __half y) { return x / y; }
__mkgen_hip_fn __half __hneg(__half x) { return -x; }
__mkgen_hip_fn __half __hfma(__half x, __half y, __half z) {
  return __half(__builtin_fmaf16(x.__mkgen_hip_value, y.__mkgen_hip_value, z.__mkgen_hip_value));
}
__mkgen_hip_fn __half __hmax(__half x, __half y) {
  return __half(__builtin_fmaxf16(x.__mkgen_hip_value, y.__mkgen_hip_value));
}
__mkgen_hip_fn __half __hmin(__half x, __half y) {
  return __half(__builtin_fminf16(x.__mkgen_hip_value, y.__mkgen_hip_value));
}
__mkgen_hip_fn bool __hisnan(__half x) { return x != x; }
__mkgen_hip_fn __half2 make_half2(__half x, __half y) { return {x, y}; }
__mkgen_hip_fn __half2 __halves2half2(__half x, __half y) { return {x, y}; }
__mkgen_hip_fn __half2 __float2half2_rn(float x) { return {__half(x), __half(x)}; }
__mkgen_hip_fn __half2 __floats2half2_rn(float x, float y) { return {__half(x), __half(y)}; }
__mkgen_hip_fn float2 __half22float2(__half2 v) { return {float(v.x), float(v.y)}; }
__mkgen_hip_fn __half __low2half(__half2 v) { return v.x; }
__mkgen_hip_fn __half __high2half(__half2 v) { return v.y; }
__mkgen_hip_fn __half2 __hadd2(__half2 a, __half2 b) { return {a.x + b.x, a.y + b.y}; }
__mkgen_hip_fn __half2 __hmul2(__half2 a, __half2 b) { return {a.x * b.x, a.y * b.y}; }
__mkgen_hip_fn __half2 __hfma2(__half2 a, __half2 b, __half2 c) {
  return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
}

// Math functions. With ROCm's device library (MKGEN_HIP_OCML) the names resolve to it, as in HIP;
// without it those remain that the compiler lowers by itself. None loosens IEEE arithmetic.
#pragma once

// Exact or correctly rounded in hardware and compiler: the same with and without the library.
#define __mkgen_hip_math1(NAME, FLOAT, DOUBLE)             \
  __mkgen_hip_fn float NAME##f(float x) { return FLOAT(x); } \
  __mkgen_hip_fn double NAME(double x) { return DOUBLE(x); } \
  __mkgen_hip_fn float NAME(float x) { return FLOAT(x); }
#define __mkgen_hip_math2(NAME, FLOAT, DOUBLE)                                \
  __mkgen_hip_fn float NAME##f(float x, float y) { return FLOAT(x, y); }        \
  __mkgen_hip_fn double NAME(double x, double y) { return DOUBLE(x, y); }       \
  __mkgen_hip_fn float NAME(float x, float y) { return FLOAT(x, y); }
#define __mkgen_hip_builtin1(NAME) \
  __mkgen_hip_math1(NAME, __builtin_##NAME##f, __builtin_##NAME)
#define __mkgen_hip_builtin2(NAME) \
  __mkgen_hip_math2(NAME, __builtin_##NAME##f, __builtin_##NAME)

__mkgen_hip_builtin1(ceil)
__mkgen_hip_builtin1(fabs)
__mkgen_hip_builtin1(floor)
__mkgen_hip_builtin1(nearbyint)
__mkgen_hip_builtin1(rint)
__mkgen_hip_builtin1(round)
__mkgen_hip_builtin1(sqrt)
__mkgen_hip_builtin1(trunc)
__mkgen_hip_builtin2(copysign)
__mkgen_hip_builtin2(fmax)
__mkgen_hip_builtin2(fmin)
__mkgen_hip_fn float fmaf(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
__mkgen_hip_fn double fma(double x, double y, double z) { return __builtin_fma(x, y, z); }
__mkgen_hip_fn float fma(float x, float y, float z) { return __builtin_fmaf(x, y, z); }

#ifdef MKGEN_HIP_OCML
#define __mkgen_hip_ocml1(NAME)                                                         \
  extern "C" __device__ __attribute__((const)) float __ocml_##NAME##_f32(float);        \
  extern "C" __device__ __attribute__((const)) double __ocml_##NAME##_f64(double);      \
  __mkgen_hip_math1(NAME, __ocml_##NAME##_f32, __ocml_##NAME##_f64)
#define __mkgen_hip_ocml2(NAME)                                                         \
  extern "C" __device__ __attribute__((const)) float __ocml_##NAME##_f32(float, float); \
  extern "C" __device__ __attribute__((const)) double __ocml_##NAME##_f64(double, double); \
  __mkgen_hip_math2(NAME, __ocml_##NAME##_f32, __ocml_##NAME##_f64)
__mkgen_hip_ocml1(acos)
__mkgen_hip_ocml1(acosh)
__mkgen_hip_ocml1(asin)
__mkgen_hip_ocml1(asinh)
__mkgen_hip_ocml1(atan)
__mkgen_hip_ocml1(atanh)
__mkgen_hip_ocml1(cbrt)
__mkgen_hip_ocml1(cos)
__mkgen_hip_ocml1(cosh)
__mkgen_hip_ocml1(cospi)
__mkgen_hip_ocml1(erf)
__mkgen_hip_ocml1(erfc)
__mkgen_hip_ocml1(erfcinv)
__mkgen_hip_ocml1(erfcx)
__mkgen_hip_ocml1(erfinv)
__mkgen_hip_ocml1(exp)
__mkgen_hip_ocml1(exp10)
__mkgen_hip_ocml1(exp2)
__mkgen_hip_ocml1(expm1)
__mkgen_hip_ocml1(j0)
__mkgen_hip_ocml1(j1)
__mkgen_hip_ocml1(lgamma)
__mkgen_hip_ocml1(log)
__mkgen_hip_ocml1(log10)
__mkgen_hip_ocml1(log1p)
__mkgen_hip_ocml1(log2)
__mkgen_hip_ocml1(logb)
__mkgen_hip_ocml1(rcbrt)
__mkgen_hip_ocml1(rsqrt)
__mkgen_hip_ocml1(sin)
__mkgen_hip_ocml1(sinh)
__mkgen_hip_ocml1(sinpi)
__mkgen_hip_ocml1(tan)
__mkgen_hip_ocml1(tanh)
__mkgen_hip_ocml1(tgamma)
__mkgen_hip_ocml1(y0)
__mkgen_hip_ocml1(y1)
__mkgen_hip_ocml2(atan2)
__mkgen_hip_ocml2(fdim)
__mkgen_hip_ocml2(fmod)
__mkgen_hip_ocml2(hypot)
__mkgen_hip_ocml2(nextafter)
__mkgen_hip_ocml2(pow)
__mkgen_hip_ocml2(remainder)
extern "C" __device__ __attribute__((const)) float __ocml_ldexp_f32(float, int);
extern "C" __device__ __attribute__((const)) double __ocml_ldexp_f64(double, int);
__mkgen_hip_fn float ldexpf(float x, int power) { return __ocml_ldexp_f32(x, power); }
__mkgen_hip_fn double ldexp(double x, int power) { return __ocml_ldexp_f64(x, power); }
#else
__mkgen_hip_builtin1(exp)
__mkgen_hip_builtin1(exp2)
__mkgen_hip_builtin1(exp10)
__mkgen_hip_builtin1(log)
__mkgen_hip_builtin1(log2)
__mkgen_hip_builtin1(log10)
__mkgen_hip_builtin1(sin)
__mkgen_hip_builtin1(cos)
__mkgen_hip_builtin2(pow)
__mkgen_hip_fn float rsqrtf(float x) { return 1.0f / __builtin_sqrtf(x); }
__mkgen_hip_fn double rsqrt(double x) { return 1.0 / __builtin_sqrt(x); }
#endif

#define __mkgen_hip_classify(NAME)                                          \
  __mkgen_hip_fn bool NAME(float x) { return __builtin_##NAME(x); }         \
  __mkgen_hip_fn bool NAME(double x) { return __builtin_##NAME(x); }
__mkgen_hip_classify(isnan)
__mkgen_hip_classify(isinf)
__mkgen_hip_classify(isfinite)
__mkgen_hip_classify(signbit)

// HIP's min and max: integers by value, floats by fmin and fmax (a NaN gives the other operand).
#define __mkgen_hip_minmax(T)                                      \
  __mkgen_hip_fn T min(T x, T y) { return x < y ? x : y; }         \
  __mkgen_hip_fn T max(T x, T y) { return x > y ? x : y; }
__mkgen_hip_minmax(int)
__mkgen_hip_minmax(unsigned)
__mkgen_hip_minmax(long)
__mkgen_hip_minmax(unsigned long)
__mkgen_hip_minmax(long long)
__mkgen_hip_minmax(unsigned long long)
__mkgen_hip_fn float min(float x, float y) { return __builtin_fminf(x, y); }
__mkgen_hip_fn float max(float x, float y) { return __builtin_fmaxf(x, y); }
__mkgen_hip_fn double min(double x, double y) { return __builtin_fmin(x, y); }
__mkgen_hip_fn double max(double x, double y) { return __builtin_fmax(x, y); }
__mkgen_hip_fn int abs(int x) { return x < 0 ? -x : x; }
__mkgen_hip_fn long abs(long x) { return x < 0 ? -x : x; }
__mkgen_hip_fn long long abs(long long x) { return x < 0 ? -x : x; }
__mkgen_hip_fn long long llabs(long long x) { return x < 0 ? -x : x; }
__mkgen_hip_fn float abs(float x) { return __builtin_fabsf(x); }
__mkgen_hip_fn double abs(double x) { return __builtin_fabs(x); }

__mkgen_hip_fn int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
__mkgen_hip_fn unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
__mkgen_hip_fn float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
__mkgen_hip_fn float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
__mkgen_hip_fn long long __double_as_longlong(double x) { return __builtin_bit_cast(long long, x); }
__mkgen_hip_fn double __longlong_as_double(long long x) { return __builtin_bit_cast(double, x); }
__mkgen_hip_fn int __float2int_rn(float x) { return int(__builtin_rintf(x)); }
__mkgen_hip_fn float __fmaf_rn(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
__mkgen_hip_fn int __popc(unsigned x) { return __builtin_popcount(x); }
__mkgen_hip_fn int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
__mkgen_hip_fn int __clz(int x) { return x == 0 ? 32 : __builtin_clz(x); }
__mkgen_hip_fn int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(x); }
__mkgen_hip_fn int __ffs(int x) { return __builtin_ffs(x); }
__mkgen_hip_fn int __ffsll(long long x) { return __builtin_ffsll(x); }
__mkgen_hip_fn unsigned __brev(unsigned x) { return __builtin_bitreverse32(x); }
__mkgen_hip_fn unsigned __umulhi(unsigned x, unsigned y) {
  return unsigned((unsigned long long)x * y >> 32);
}
template <class T> __mkgen_hip_fn T __ldg(const T* at) { return *at; }

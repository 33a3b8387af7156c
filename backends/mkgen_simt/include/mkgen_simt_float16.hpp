// float16 and bfloat16: 16 bits of storage; every operation rounds to nearest even.
//
// Sums, products, quotients and roots go through float: with at least 2p + 2 bits (24 of 11 or 8)
// rounding twice is rounding once (Figueroa, "When is double rounding innocuous?", 1995). Where
// that does not hold, fused multiply-add and conversion from double, the step before is rounded to
// odd, which keeps the last rounding right (Boldo and Melquiond, 2008).
#pragma once
#include <math.h>

#include "mkgen_simt_device.hpp"

namespace mkgen_simt {

// `v` as float, rounded to odd: inexact results have their last bit set.
inline float to_float_odd(double v) {
  const float nearest = static_cast<float>(v);
  if (v != v || isinf(v) || static_cast<double>(nearest) == v) return nearest;
  uint32_t bits = bits_as<uint32_t>(nearest);
  if (fabs(static_cast<double>(nearest)) > fabs(v)) --bits;  // towards zero
  return bits_as<float>(bits | 1u);
}

// a * b + c rounded to odd in double; the product of two 16-bit floats is exact there.
inline double fused_odd(double a, double b, double c) {
  const double product = a * b, sum = product + c;
  if (sum != sum || isinf(sum)) return sum;
  const double part = sum - product;
  const double lost = (product - (sum - part)) + (c - part);  // Knuth's TwoSum: exact
  uint64_t bits = bits_as<uint64_t>(sum);
  if (lost == 0.0 || (bits & 1u) != 0) return sum;
  return bits_as<double>((lost > 0.0) == (sum > 0.0) ? bits + 1 : bits - 1);
}

struct Half {
  static uint16_t encode(float v) {
#if defined(__F16C__) && defined(__clang__)
    return bits_as<uint16_t>(static_cast<_Float16>(v));
#elif defined(__F16C__)
    typedef float Float4 __attribute__((vector_size(16)));
    typedef short Short8 __attribute__((vector_size(16)));
    const Short8 packed = __builtin_ia32_vcvtps2ph(Float4{v, 0.0f, 0.0f, 0.0f}, 0);
    return static_cast<uint16_t>(packed[0]);
#else
    const uint32_t bits = bits_as<uint32_t>(v), sign = bits >> 16 & 0x8000u, size = bits & 0x7FFFFFFFu;
    if (size > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u | (size >> 13 & 0x3FFu));
    if (size >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);
    if (size < 0x38800000u) {
      // Adding 0.5 leaves the subnormal's bits, rounded, at the end of the mantissa.
      const float shifted = bits_as<float>(size) + 0.5f;
      return static_cast<uint16_t>(sign | (bits_as<uint32_t>(shifted) - 0x3F000000u));
    }
    return static_cast<uint16_t>(sign | ((size - 0x38000000u + 0xFFFu + (size >> 13 & 1u)) >> 13));
#endif
  }
  static float decode(uint16_t v) {
#if defined(__F16C__) && defined(__clang__)
    return static_cast<float>(bits_as<_Float16>(v));
#elif defined(__F16C__)
    typedef short Short8 __attribute__((vector_size(16)));
    return __builtin_ia32_vcvtph2ps(Short8{static_cast<short>(v), 0, 0, 0, 0, 0, 0, 0})[0];
#else
    const uint32_t sign = static_cast<uint32_t>(v & 0x8000u) << 16, size = v & 0x7FFFu;
    if (size >= 0x7C00u) return bits_as<float>(sign | 0x7F800000u | (size & 0x3FFu) << 13);
    const float scaled = bits_as<float>(size << 13) * 0x1p112f;
    return bits_as<float>(sign | bits_as<uint32_t>(scaled));
#endif
  }
};

struct Brain {
  static uint16_t encode(float v) {
    const uint32_t bits = bits_as<uint32_t>(v);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
    return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
  }
  static float decode(uint16_t v) { return bits_as<float>(static_cast<uint32_t>(v) << 16); }
};

template <class Format>
struct Small {
  uint16_t bits;

  Small() = default;
  Small(float v) : bits(Format::encode(v)) {}
  Small(double v) : bits(Format::encode(to_float_odd(v))) {}
  Small(int v) : Small(static_cast<double>(v)) {}
  Small(unsigned v) : Small(static_cast<double>(v)) {}
  Small(long v) : Small(static_cast<double>(v)) {}
  Small(unsigned long v) : Small(static_cast<double>(v)) {}
  Small(long long v) : Small(static_cast<double>(v)) {}
  Small(unsigned long long v) : Small(static_cast<double>(v)) {}
  operator float() const { return Format::decode(bits); }

  static Small raw(uint16_t bits) {
    Small s;
    s.bits = bits;
    return s;
  }

  friend Small operator+(Small a, Small b) { return Small(float(a) + float(b)); }
  friend Small operator-(Small a, Small b) { return Small(float(a) - float(b)); }
  friend Small operator*(Small a, Small b) { return Small(float(a) * float(b)); }
  friend Small operator/(Small a, Small b) { return Small(float(a) / float(b)); }
  friend Small operator-(Small a) { return raw(a.bits ^ 0x8000u); }
  friend Small operator+(Small a) { return a; }
  friend Small& operator+=(Small& a, Small b) { return a = a + b; }
  friend Small& operator-=(Small& a, Small b) { return a = a - b; }
  friend Small& operator*=(Small& a, Small b) { return a = a * b; }
  friend Small& operator/=(Small& a, Small b) { return a = a / b; }
  friend bool operator==(Small a, Small b) { return float(a) == float(b); }
  friend bool operator!=(Small a, Small b) { return float(a) != float(b); }
  friend bool operator<(Small a, Small b) { return float(a) < float(b); }
  friend bool operator<=(Small a, Small b) { return float(a) <= float(b); }
  friend bool operator>(Small a, Small b) { return float(a) > float(b); }
  friend bool operator>=(Small a, Small b) { return float(a) >= float(b); }
};

template <class Format>
struct __align__(4) SmallPair {
  Small<Format> x, y;
};

template <class Format>
struct Atomic<Small<Format>> {
  using type = Small<Format>;
};

}  // namespace mkgen_simt

// --- Functions both types have, by CUDA's and HIP's names --------------------------------------
#define MKGEN_SIMT_T mkgen_simt::Small<F>
#define MKGEN_SIMT_T2 mkgen_simt::SmallPair<F>
#define MKGEN_SIMT_BINARY(name, expression)                                                             \
  template <class F> inline MKGEN_SIMT_T name(MKGEN_SIMT_T a, MKGEN_SIMT_T b) { return expression; }    \
  template <class F> inline MKGEN_SIMT_T2 name##2(MKGEN_SIMT_T2 a, MKGEN_SIMT_T2 b) {                   \
    return {name(a.x, b.x), name(a.y, b.y)};                                                            \
  }
#define MKGEN_SIMT_COMPARE(name, op) \
  template <class F> inline bool name(MKGEN_SIMT_T a, MKGEN_SIMT_T b) { return a op b; }
#define MKGEN_SIMT_UNARY(name, function) \
  template <class F> inline MKGEN_SIMT_T name(MKGEN_SIMT_T v) { return MKGEN_SIMT_T(function(double(float(v)))); }
MKGEN_SIMT_BINARY(__hadd, a + b)
MKGEN_SIMT_BINARY(__hsub, a - b)
MKGEN_SIMT_BINARY(__hmul, a * b)
MKGEN_SIMT_BINARY(__hmax, MKGEN_SIMT_T(fmaxf(a, b)))
MKGEN_SIMT_BINARY(__hmin, MKGEN_SIMT_T(fminf(a, b)))
template <class F> inline MKGEN_SIMT_T __hdiv(MKGEN_SIMT_T a, MKGEN_SIMT_T b) { return a / b; }
template <class F> inline MKGEN_SIMT_T2 __h2div(MKGEN_SIMT_T2 a, MKGEN_SIMT_T2 b) { return {a.x / b.x, a.y / b.y}; }
MKGEN_SIMT_COMPARE(__heq, ==)
MKGEN_SIMT_COMPARE(__hne, !=)
MKGEN_SIMT_COMPARE(__hlt, <)
MKGEN_SIMT_COMPARE(__hle, <=)
MKGEN_SIMT_COMPARE(__hgt, >)
MKGEN_SIMT_COMPARE(__hge, >=)
MKGEN_SIMT_UNARY(hexp, exp)
MKGEN_SIMT_UNARY(hexp2, exp2)
MKGEN_SIMT_UNARY(hlog, log)
MKGEN_SIMT_UNARY(hlog2, log2)
MKGEN_SIMT_UNARY(hsin, sin)
MKGEN_SIMT_UNARY(hcos, cos)
MKGEN_SIMT_UNARY(htanh, tanh)
MKGEN_SIMT_UNARY(hsqrt, sqrt)
MKGEN_SIMT_UNARY(hrsqrt, 1.0 / sqrt)
MKGEN_SIMT_UNARY(hrcp, 1.0 / )
MKGEN_SIMT_UNARY(hfloor, floor)
MKGEN_SIMT_UNARY(hceil, ceil)
MKGEN_SIMT_UNARY(hrint, rint)
MKGEN_SIMT_UNARY(htrunc, trunc)
template <class F> inline MKGEN_SIMT_T __hfma(MKGEN_SIMT_T a, MKGEN_SIMT_T b, MKGEN_SIMT_T c) {
  return MKGEN_SIMT_T(mkgen_simt::fused_odd(float(a), float(b), float(c)));
}
template <class F> inline MKGEN_SIMT_T2 __hfma2(MKGEN_SIMT_T2 a, MKGEN_SIMT_T2 b, MKGEN_SIMT_T2 c) {
  return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
}
template <class F> inline MKGEN_SIMT_T __hneg(MKGEN_SIMT_T v) { return -v; }
template <class F> inline MKGEN_SIMT_T __habs(MKGEN_SIMT_T v) { return MKGEN_SIMT_T::raw(v.bits & 0x7FFFu); }
template <class F> inline bool __hisnan(MKGEN_SIMT_T v) { return float(v) != float(v); }
template <class F> inline int __hisinf(MKGEN_SIMT_T v) { return isinf(float(v)) ? (float(v) > 0 ? 1 : -1) : 0; }
#undef MKGEN_SIMT_T
#undef MKGEN_SIMT_T2
#undef MKGEN_SIMT_BINARY
#undef MKGEN_SIMT_COMPARE
#undef MKGEN_SIMT_UNARY

// Conversions, whose names hold the type's: `half` or `bfloat16`.
#define MKGEN_SIMT_CONVERSIONS(T, T2, type, type2)                                                \
  static inline T __float2##type(float v) { return T(v); }                                        \
  static inline T __float2##type##_rn(float v) { return T(v); }                                   \
  static inline T __double2##type(double v) { return T(v); }                                      \
  static inline T __int2##type##_rn(int v) { return T(v); }                                       \
  static inline T __uint2##type##_rn(unsigned v) { return T(v); }                                 \
  static inline float __##type##2float(T v) { return v; }                                         \
  static inline int __##type##2int_rn(T v) { return static_cast<int>(rintf(v)); }                 \
  static inline int __##type##2int_rz(T v) { return static_cast<int>(float(v)); }                 \
  static inline unsigned short __##type##_as_ushort(T v) { return v.bits; }                       \
  static inline T __ushort_as_##type(unsigned short v) { return T::raw(v); }                      \
  static inline T2 __##type##2##type2(T v) { return {v, v}; }                                     \
  static inline T2 __float2##type2##_rn(float v) { return {T(v), T(v)}; }                         \
  static inline T2 __floats2##type2##_rn(float a, float b) { return {T(a), T(b)}; }               \
  static inline T2 __float22##type2##_rn(float2 v) { return {T(v.x), T(v.y)}; }                   \
  static inline T2 __halves2##type2(T a, T b) { return {a, b}; }                                  \
  static inline T2 make_##type2(T a, T b) { return {a, b}; }                                      \
  static inline float2 __##type2##2float2(T2 v) { return {v.x, v.y}; }                            \
  static inline float __low2float(T2 v) { return v.x; }                                           \
  static inline float __high2float(T2 v) { return v.y; }                                          \
  static inline T __low2##type(T2 v) { return v.x; }                                              \
  static inline T __high2##type(T2 v) { return v.y; }

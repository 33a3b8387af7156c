// What CUDA and HIP device code share: qualifiers, vector types, mathematics, atomics, barriers.
#pragma once
#include <assert.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "mkgen_simt.hpp"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#ifdef MKGEN_SIMT_SEES_ACCESSES
// What watches memory does so in steps of 8 bytes.
#define __shared__ static MKGEN_SIMT_SHARED __attribute__((aligned(16)))
#else
#define __shared__ static MKGEN_SIMT_SHARED
#endif
// Works inside a kernel and at namespace scope: the arena never moves.
#define HIP_DYNAMIC_SHARED(type, name) \
  type* const name = reinterpret_cast<type*>(::mkgen_simt::dynamic_arena);

#ifndef __clang__
#define __builtin_assume(condition) ((void)0)
#define __builtin_nontemporal_load(address) (*(address))
#define __builtin_nontemporal_store(value, address) (*(address) = (value))
#endif

static constexpr int warpSize = mkgen_simt::kLanes;

// --- Vector types ----------------------------------------------------------------------------
#define MKGEN_SIMT_VECTORS(T, name, align2, align4)                                  \
  struct name##1 { T x; };                                                           \
  struct __align__(align2) name##2 { T x, y; };                                      \
  struct name##3 { T x, y, z; };                                                     \
  struct __align__(align4) name##4 { T x, y, z, w; };                                \
  static inline name##1 make_##name##1(T x) { return {x}; }                          \
  static inline name##2 make_##name##2(T x, T y) { return {x, y}; }                  \
  static inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }          \
  static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

MKGEN_SIMT_VECTORS(signed char, char, 2, 4)
MKGEN_SIMT_VECTORS(unsigned char, uchar, 2, 4)
MKGEN_SIMT_VECTORS(short, short, 4, 8)
MKGEN_SIMT_VECTORS(unsigned short, ushort, 4, 8)
MKGEN_SIMT_VECTORS(int, int, 8, 16)
MKGEN_SIMT_VECTORS(long, long, 16, 16)
MKGEN_SIMT_VECTORS(unsigned long, ulong, 16, 16)
MKGEN_SIMT_VECTORS(long long, longlong, 16, 16)
MKGEN_SIMT_VECTORS(unsigned long long, ulonglong, 16, 16)
MKGEN_SIMT_VECTORS(float, float, 8, 16)
MKGEN_SIMT_VECTORS(double, double, 16, 16)
#undef MKGEN_SIMT_VECTORS

struct uint1 { unsigned x; };
struct __align__(8) uint2 { unsigned x, y; };
struct __align__(16) uint4 { unsigned x, y, z, w; };
static inline uint1 make_uint1(unsigned x) { return {x}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// --- Bits ------------------------------------------------------------------------------------
namespace mkgen_simt {
template <class To, class From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "bits_as keeps the size");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
}  // namespace mkgen_simt

static inline int __float_as_int(float v) { return mkgen_simt::bits_as<int>(v); }
static inline unsigned __float_as_uint(float v) { return mkgen_simt::bits_as<unsigned>(v); }
static inline float __int_as_float(int v) { return mkgen_simt::bits_as<float>(v); }
static inline float __uint_as_float(unsigned v) { return mkgen_simt::bits_as<float>(v); }
static inline long long __double_as_longlong(double v) { return mkgen_simt::bits_as<long long>(v); }
static inline double __longlong_as_double(long long v) { return mkgen_simt::bits_as<double>(v); }
static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
static inline int __clz(int v) { return v == 0 ? 32 : __builtin_clz(static_cast<unsigned>(v)); }
static inline int __clzll(long long v) { return v == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(v)); }
static inline int __ffs(int v) { return __builtin_ffs(v); }
static inline int __ffsll(long long v) { return __builtin_ffsll(v); }
static inline unsigned __brev(unsigned v) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= (v >> i & 1u) << (31 - i);
  return reversed;
}
static inline int __mulhi(int a, int b) { return static_cast<int>((static_cast<long long>(a) * b) >> 32); }
static inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<unsigned long long>(a) * b) >> 32);
}

// --- Mathematics -----------------------------------------------------------------------------
// float results are rounded from double where the C library has no such function. Macros, not
// functions, where a newer C library declares the same name.
namespace mkgen_simt {
constexpr double kPi = 3.14159265358979323846;
inline float rsqrt_of(float v) { return static_cast<float>(1.0 / sqrt(static_cast<double>(v))); }
inline double rsqrt_of(double v) { return 1.0 / sqrt(v); }
inline double sinpi_of(double v) { return sin(kPi * remainder(v, 2.0)); }
inline double cospi_of(double v) { return cos(kPi * remainder(v, 2.0)); }
}  // namespace mkgen_simt
#define rsqrtf(v) ::mkgen_simt::rsqrt_of(static_cast<float>(v))
#define rsqrt(v) ::mkgen_simt::rsqrt_of(static_cast<double>(v))
#define sinpif(v) static_cast<float>(::mkgen_simt::sinpi_of(v))
#define cospif(v) static_cast<float>(::mkgen_simt::cospi_of(v))
#define sinpi(v) ::mkgen_simt::sinpi_of(v)
#define cospi(v) ::mkgen_simt::cospi_of(v)
#define exp10f(v) static_cast<float>(pow(10.0, static_cast<double>(v)))
// glibc declares these names itself; <math.h> is already included.
#define __expf(v) expf(v)
#define __exp10f(v) exp10f(v)
#define __logf(v) logf(v)
#define __log2f(v) log2f(v)
#define __log10f(v) log10f(v)
#define __sinf(v) sinf(v)
#define __cosf(v) cosf(v)
#define __tanf(v) tanf(v)
#define __powf(a, b) powf(a, b)

static inline float rcbrtf(float v) { return static_cast<float>(1.0 / cbrt(static_cast<double>(v))); }
static inline float normcdff(float v) { return static_cast<float>(0.5 * erfc(-v * 0.70710678118654752440)); }
static inline float fdividef(float a, float b) { return a / b; }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __saturatef(float v) { return v > 0.0f ? (v < 1.0f ? v : 1.0f) : 0.0f; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __frcp_rn(float v) { return 1.0f / v; }
static inline float __fsqrt_rn(float v) { return sqrtf(v); }
static inline float __frsqrt_rn(float v) { return rsqrtf(v); }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline int __float2int_rn(float v) { return static_cast<int>(rintf(v)); }
static inline int __float2int_rz(float v) { return static_cast<int>(v); }
static inline int __float2int_rd(float v) { return static_cast<int>(floorf(v)); }
static inline int __float2int_ru(float v) { return static_cast<int>(ceilf(v)); }
static inline unsigned __float2uint_rn(float v) { return static_cast<unsigned>(rintf(v)); }
static inline unsigned __float2uint_rz(float v) { return static_cast<unsigned>(v); }
static inline float __int2float_rn(int v) { return static_cast<float>(v); }
static inline float __uint2float_rn(unsigned v) { return static_cast<float>(v); }
static inline float __double2float_rn(double v) { return static_cast<float>(v); }

#define MKGEN_SIMT_EXTREMA(A, B, R)                                                                \
  static inline R min(A a, B b) { return static_cast<R>(a) < static_cast<R>(b) ? static_cast<R>(a) : static_cast<R>(b); } \
  static inline R max(A a, B b) { return static_cast<R>(a) > static_cast<R>(b) ? static_cast<R>(a) : static_cast<R>(b); }
MKGEN_SIMT_EXTREMA(int, int, int)
MKGEN_SIMT_EXTREMA(unsigned, unsigned, unsigned)
MKGEN_SIMT_EXTREMA(int, unsigned, unsigned)
MKGEN_SIMT_EXTREMA(unsigned, int, unsigned)
MKGEN_SIMT_EXTREMA(long, long, long)
MKGEN_SIMT_EXTREMA(unsigned long, unsigned long, unsigned long)
MKGEN_SIMT_EXTREMA(long long, long long, long long)
MKGEN_SIMT_EXTREMA(unsigned long long, unsigned long long, unsigned long long)
#undef MKGEN_SIMT_EXTREMA
// As on the device, the number wins over a NaN.
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
static inline double min(float a, double b) { return fmin(a, b); }
static inline double max(float a, double b) { return fmax(a, b); }
static inline double min(double a, float b) { return fmin(a, b); }
static inline double max(double a, float b) { return fmax(a, b); }

// --- Memory ----------------------------------------------------------------------------------
template <class T> inline T __ldg(const T* p) { return *p; }
template <class T> inline T __ldca(const T* p) { return *p; }
template <class T> inline T __ldcg(const T* p) { return *p; }
template <class T> inline T __ldcs(const T* p) { return *p; }
template <class T> inline void __stcg(T* p, typename mkgen_simt::Exactly<T>::type v) { *p = v; }
template <class T> inline void __stcs(T* p, typename mkgen_simt::Exactly<T>::type v) { *p = v; }
template <class T> inline void __stwb(T* p, typename mkgen_simt::Exactly<T>::type v) { *p = v; }
template <class T> inline void __stwt(T* p, typename mkgen_simt::Exactly<T>::type v) { *p = v; }
static inline void __threadfence() { mkgen_simt::on_fence(); }
static inline void __threadfence_block() { mkgen_simt::on_fence(); }
static inline void __threadfence_system() { mkgen_simt::on_fence(); }
[[noreturn]] static inline void __trap() {
  mkgen_simt::explain("kernel %s: __trap()", mkgen_simt::machine.kernel);
  mkgen_simt::abandon();
}

// One CPU thread runs everything, so plain reads and writes are atomic here.
namespace mkgen_simt {
template <class T> struct Atomic;  // the types the device has atomics for
#define MKGEN_SIMT_ATOMIC(T) template <> struct Atomic<T> { using type = T; };
MKGEN_SIMT_ATOMIC(int)
MKGEN_SIMT_ATOMIC(unsigned)
MKGEN_SIMT_ATOMIC(unsigned long long)
MKGEN_SIMT_ATOMIC(long long)
MKGEN_SIMT_ATOMIC(float)
MKGEN_SIMT_ATOMIC(double)
}  // namespace mkgen_simt

#define MKGEN_SIMT_UPDATE(name, expression)                                 \
  template <class T>                                                        \
  MKGEN_SIMT_RAW inline T name(T* address, typename mkgen_simt::Atomic<T>::type value) { \
    mkgen_simt::on_atomic(address, sizeof(T), false);                       \
    const T old = *address;                                                 \
    *address = expression;                                                  \
    return old;                                                             \
  }
MKGEN_SIMT_UPDATE(atomicAdd, old + value)
MKGEN_SIMT_UPDATE(atomicSub, old - value)
MKGEN_SIMT_UPDATE(atomicMax, old < value ? value : old)
MKGEN_SIMT_UPDATE(atomicMin, value < old ? value : old)
MKGEN_SIMT_UPDATE(atomicExch, value)
MKGEN_SIMT_UPDATE(atomicAnd, old & value)
MKGEN_SIMT_UPDATE(atomicOr, old | value)
MKGEN_SIMT_UPDATE(atomicXor, old ^ value)
MKGEN_SIMT_UPDATE(atomicInc, old >= value ? T(0) : old + 1)
MKGEN_SIMT_UPDATE(atomicDec, old == 0 || old > value ? value : old - 1)
#undef MKGEN_SIMT_UPDATE

template <class T>
MKGEN_SIMT_RAW inline T atomicCAS(T* address, typename mkgen_simt::Atomic<T>::type expected, typename mkgen_simt::Atomic<T>::type value) {
  mkgen_simt::on_atomic(address, sizeof(T), true);
  const T old = *address;
  if (memcmp(&old, &expected, sizeof old) == 0) *address = value;
  return old;
}

// --- Barriers and warps ----------------------------------------------------------------------
static inline void __syncthreads(int line = __builtin_LINE()) { mkgen_simt::barrier("__syncthreads", line, false); }
static inline int __syncthreads_count(int predicate, int line = __builtin_LINE()) {
  return mkgen_simt::barrier("__syncthreads_count", line, predicate != 0);
}
static inline int __syncthreads_or(int predicate, int line = __builtin_LINE()) {
  return mkgen_simt::barrier("__syncthreads_or", line, predicate != 0) != 0;
}
static inline int __syncthreads_and(int predicate, int line = __builtin_LINE()) {
  return mkgen_simt::barrier("__syncthreads_and", line, predicate != 0) == mkgen_simt::machine.threads;
}

namespace mkgen_simt {
template <class T>
inline T shuffle(Op op, const char* name, int line, bool converged, uint64_t mask, T value, int argument, int width) {
  static_assert(sizeof(T) <= 8, "a shuffle moves up to 8 bytes");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  bits = exchange(op, name, line, converged, mask, bits, argument, width);
  memcpy(&value, &bits, sizeof value);
  return value;
}
inline uint64_t vote(Op op, const char* name, int line, bool converged, uint64_t mask, bool predicate) {
  return exchange(op, name, line, converged, mask, predicate, 0, kLanes);
}
#if MKGEN_SIMT_LANES == 64
using LaneMask = unsigned long long;
#else
using LaneMask = unsigned;
#endif
}  // namespace mkgen_simt

#define MKGEN_SIMT_SHUFFLE(name, op)                                                                       \
  template <class T>                                                                                       \
  inline T name##_sync(unsigned long long mask, T value, int argument, int width = warpSize,               \
                       int line = __builtin_LINE()) {                                                      \
    return mkgen_simt::shuffle(mkgen_simt::Op::op, #name "_sync", line, false, mask, value, argument, width); \
  }
MKGEN_SIMT_SHUFFLE(__shfl, Index)
MKGEN_SIMT_SHUFFLE(__shfl_up, Up)
MKGEN_SIMT_SHUFFLE(__shfl_down, Down)
MKGEN_SIMT_SHUFFLE(__shfl_xor, Xor)
#undef MKGEN_SIMT_SHUFFLE

static inline void __syncwarp(unsigned long long mask = ~0ull, int line = __builtin_LINE()) {
  mkgen_simt::vote(mkgen_simt::Op::Sync, "__syncwarp", line, false, mask, false);
}
static inline mkgen_simt::LaneMask __ballot_sync(unsigned long long mask, int predicate, int line = __builtin_LINE()) {
  return static_cast<mkgen_simt::LaneMask>(
      mkgen_simt::vote(mkgen_simt::Op::Ballot, "__ballot_sync", line, false, mask, predicate != 0));
}
static inline int __any_sync(unsigned long long mask, int predicate, int line = __builtin_LINE()) {
  return static_cast<int>(mkgen_simt::vote(mkgen_simt::Op::Any, "__any_sync", line, false, mask, predicate != 0));
}
static inline int __all_sync(unsigned long long mask, int predicate, int line = __builtin_LINE()) {
  return static_cast<int>(mkgen_simt::vote(mkgen_simt::Op::All, "__all_sync", line, false, mask, predicate != 0));
}
static inline mkgen_simt::LaneMask __activemask(int line = __builtin_LINE()) {
  return static_cast<mkgen_simt::LaneMask>(
      mkgen_simt::vote(mkgen_simt::Op::Active, "__activemask", line, true, 0, false));
}

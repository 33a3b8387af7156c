// Fixed-width integers, limits and vector types.
#pragma once

typedef __INT8_TYPE__ int8_t;
typedef __INT16_TYPE__ int16_t;
typedef __INT32_TYPE__ int32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT8_TYPE__ uint8_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __UINT64_TYPE__ uint64_t;
typedef __INTPTR_TYPE__ intptr_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define FLT_MAX __FLT_MAX__
#define FLT_MIN __FLT_MIN__
#define FLT_EPSILON __FLT_EPSILON__
#define DBL_MAX __DBL_MAX__
#define DBL_MIN __DBL_MIN__
#define DBL_EPSILON __DBL_EPSILON__
#define INT_MAX __INT_MAX__
#define INT_MIN (-__INT_MAX__ - 1)
#define UINT_MAX (__INT_MAX__ * 2u + 1u)
#define LLONG_MAX __LONG_LONG_MAX__
#define LLONG_MIN (-__LONG_LONG_MAX__ - 1LL)
#define INT8_MAX __INT8_MAX__
#define INT8_MIN (-__INT8_MAX__ - 1)
#define UINT8_MAX __UINT8_MAX__
#define INT16_MAX __INT16_MAX__
#define INT16_MIN (-__INT16_MAX__ - 1)
#define INT32_MAX __INT32_MAX__
#define INT32_MIN (-__INT32_MAX__ - 1)
#define INT64_MAX __INT64_MAX__
#define INT64_MIN (-__INT64_MAX__ - 1)
#ifndef NULL
#define NULL __null
#endif
#define assert(condition) ((condition) ? void() : __builtin_trap())

struct dim3 {
  unsigned x, y, z;
  __host__ __device__ constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1)
      : x(x), y(y), z(z) {}
};

// Vectors are plain aggregates aligned to their size, as CUDA's are: what text may assume of both.
#define __mkgen_hip_vectors(T, NAME)                                                           \
  struct NAME##1 { T x; };                                                                     \
  struct __attribute__((aligned(2 * sizeof(T)))) NAME##2 { T x, y; };                          \
  struct NAME##3 { T x, y, z; };                                                               \
  struct __attribute__((aligned(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)))) NAME##4 {           \
    T x, y, z, w;                                                                              \
  };                                                                                           \
  static __host__ __device__ inline NAME##1 make_##NAME##1(T x) { return {x}; }                \
  static __host__ __device__ inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }        \
  static __host__ __device__ inline NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; } \
  static __host__ __device__ inline NAME##4 make_##NAME##4(T x, T y, T z, T w) {               \
    return {x, y, z, w};                                                                       \
  }
__mkgen_hip_vectors(signed char, char)
__mkgen_hip_vectors(unsigned char, uchar)
__mkgen_hip_vectors(short, short)
__mkgen_hip_vectors(unsigned short, ushort)
__mkgen_hip_vectors(int, int)
__mkgen_hip_vectors(unsigned, uint)
__mkgen_hip_vectors(long, long)
__mkgen_hip_vectors(unsigned long, ulong)
__mkgen_hip_vectors(long long, longlong)
__mkgen_hip_vectors(unsigned long long, ulonglong)
__mkgen_hip_vectors(float, float)
__mkgen_hip_vectors(double, double)

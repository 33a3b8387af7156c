"""Headers for NVRTC: what the host's toolkit would give, in memory or from where CUDA's own lie."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterator
from pathlib import Path

from mkgen.codegen.backend import Found

# NVRTC predefines size_t but neither the fixed-width integers nor INFINITY. A bit cast is the one
# spelling of infinity that NVRTC accepts in a constant expression without a warning.
_RUNTIME = """#pragma once
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef unsigned long long uintptr_t;
typedef long long intptr_t;
#ifndef INFINITY
#define INFINITY __builtin_bit_cast(float, 0x7f800000)
#define NAN __builtin_bit_cast(float, 0x7fc00000)
#endif
#ifndef FLT_MAX
#define FLT_MAX 3.402823466e+38f
#define FLT_MIN 1.175494351e-38f
#define FLT_EPSILON 1.192092896e-07f
#define DBL_MAX 1.7976931348623158e+308
#define DBL_MIN 2.2250738585072014e-308
#define DBL_EPSILON 2.2204460492503131e-16
#endif
#ifndef INT_MAX
#define INT_MAX 2147483647
#define INT_MIN (-INT_MAX - 1)
#define UINT_MAX 4294967295u
#define LLONG_MAX 9223372036854775807LL
#define LLONG_MIN (-LLONG_MAX - 1LL)
#endif
#ifndef INT8_MAX
#define INT8_MAX 127
#define INT8_MIN (-128)
#define UINT8_MAX 255
#define INT16_MAX 32767
#define INT16_MIN (-32768)
#define INT32_MAX INT_MAX
#define INT32_MIN INT_MIN
#define INT64_MAX LLONG_MAX
#define INT64_MIN LLONG_MIN
#endif
"""

_SAME = '#include "cuda_runtime.h"\n'

#: Given to NVRTC by name; they win over files of the same name.
CUDA_HEADERS = {"cuda_runtime.h": _RUNTIME} | dict.fromkeys(
    ("stdint.h", "cstdint", "stddef.h", "cstddef", "math.h", "cmath", "float.h", "cfloat",
     "limits.h", "climits"), _SAME)  # fmt: skip

# HIP text on an NVIDIA GPU. `__HIPCC_RTC__` leaves the host launcher out, as hipRTC does. HIP's
# shuffles and votes name no lanes: all of a warp take part. The votes are macros because NVRTC
# still declares functions of these names that no arch has.
_HIP_RUNTIME = """#pragma once
#define __HIPCC_RTC__ 1
#include "cuda_runtime.h"
#define HIP_DYNAMIC_SHARED(type, var) extern __shared__ type var[];
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
template <class T> __device__ T __shfl(T value, int lane, int width = warpSize) {
  return __shfl_sync(0xffffffffu, value, lane, width);
}
template <class T> __device__ T __shfl_up(T value, unsigned delta, int width = warpSize) {
  return __shfl_up_sync(0xffffffffu, value, delta, width);
}
template <class T> __device__ T __shfl_down(T value, unsigned delta, int width = warpSize) {
  return __shfl_down_sync(0xffffffffu, value, delta, width);
}
template <class T> __device__ T __shfl_xor(T value, int mask, int width = warpSize) {
  return __shfl_xor_sync(0xffffffffu, value, mask, width);
}
#define __ballot(predicate) ((unsigned long long)__ballot_sync(0xffffffffu, (predicate)))
#define __any(predicate) __any_sync(0xffffffffu, (predicate))
#define __all(predicate) __all_sync(0xffffffffu, (predicate))
"""

#: The same for HIP text: HIP's names, as macros and small functions over CUDA's.
HIP_ON_CUDA_HEADERS = CUDA_HEADERS | {
    "hip/hip_runtime.h": _HIP_RUNTIME,
    "hip/hip_fp16.h": '#pragma once\n#include "cuda_fp16.h"\n',
    "hip/hip_bf16.h": '#pragma once\n#include "cuda_bf16.h"\n'
    "typedef __nv_bfloat16 __hip_bfloat16;\ntypedef __nv_bfloat162 __hip_bfloat162;\n",
}


def cuda_include() -> Found:
    """The directory of CUDA's own `cuda_fp16.h`, with its kin; every place looked at."""
    found = Found(None)
    for directory in _include_places():
        found.tried.append(str(directory))
        if (directory / "cuda_fp16.h").is_file():
            found.path = directory
            return found
    return found


def _include_places() -> Iterator[Path]:
    *chosen, usual = toolkit_roots()
    yield from (root / "include" for root in chosen)
    for root in site_roots():
        yield from sorted(root.glob("nvidia/cu*/include"), reverse=True)
        yield root / "nvidia/cuda_runtime/include"
        yield root / "triton/backends/nvidia/include"
    yield usual / "include"


def toolkit_roots() -> list[Path]:
    """Where a CUDA toolkit may lie: as the environment says, then the usual place."""
    named = [os.environ.get(variable, "") for variable in ("CUDA_PATH", "CUDA_HOME")]
    return [*(Path(root) for root in named if root), Path("/usr/local/cuda")]


def site_roots() -> list[Path]:
    """Directories in which this interpreter's packages lie."""
    roots = [*site.getsitepackages(), site.getusersitepackages(), *sys.path]
    return [path for path in dict.fromkeys(Path(r) for r in roots if r) if path.is_dir()]

"""One kernel with many faults, of which the first input chooses one."""

from __future__ import annotations

import re

import numpy as np
from simt_programs import buffer

from mkgen.program import Buffer, Launch, Program, Simt, Source, Variant
from mkgen.target import Target

THREADS, BLOCKS = 64, 2
#: What a case of `BODY` is chosen by.
CASES: dict[str, int] = {}

#: `LANE_XOR(v, 1)`, `WARP_BARRIER` and `DYNAMIC` are spelled as the vendor does. The line of a
#: fault has its case's name behind `//!`.
BODY = """
template <class T>
__device__ T shifted(T value, int t) {
  __shared__ T kept[THREADS];
  T* const p = kept;
  p[t + 1] = value;                                            //! template after
  __syncthreads();
  return kept[t > 0 ? t : 1];
}

extern "C" __global__ void k(const float* __restrict__ x, float* y, int* count) {
  DYNAMIC(float, d)
  __shared__ float s[THREADS];
  __shared__ int flag;
  const int t = threadIdx.x, n = THREADS;
  const int i = blockIdx.x * n + t;
  const float v = x[i];
  float* p = s;
  switch (static_cast<int>(x[2 * n])) {
    case CASE(clean):
      s[t] = v;
      d[t] = v;
      if (t == 0) flag = 0;
      __syncthreads();
      atomicAdd(&flag, 1);
      y[i] = s[n - 1 - t] + d[t ^ 33];
      __syncthreads();
      s[t] = y[i] + LANE_XOR(v, 1);
      WARP_BARRIER;
      y[i] = s[t ^ 1];
      __syncthreads();
      if (flag == n) y[i] += 1;
      break;
    case CASE(clean order of blocks): {
      y[i] = v;
      __threadfence();
      __syncthreads();
      if (t == 0) {
        __threadfence();
        flag = atomicAdd(count, 1);
      }
      __syncthreads();
      if (flag == BLOCKS - 1) y[i] = y[t] + y[n + t];
      break;
    }
    case CASE(clean maximum): {
      int seen = count[0], assumed;
      do {
        assumed = seen;
        seen = atomicCAS(count, assumed, assumed > t ? assumed : t);
      } while (seen != assumed);
      y[i] = v;
      break;
    }
    case CASE(static after):
      p[t + 1] = v;                                            //! static after
      __syncthreads();
      y[i] = p[t > 0 ? t : 1];
      break;
    case CASE(static before):
      s[t] = v;
      __syncthreads();
      y[i] = p[t - 1];                                         //! static before
      break;
    case CASE(template after): y[i] = shifted(v, t); break;
    case CASE(dynamic after):
      d[t + 1] = v;                                            //! dynamic after
      y[i] = v;
      break;
    case CASE(dynamic before):
      d[t] = v;
      __syncthreads();
      y[i] = d[t - 1];                                         //! dynamic before
      break;
    case CASE(global after):
      y[i + 1] = v;                                            //! global after
      break;
    case CASE(global before):
      y[i] = x[i - 1];                                         //! global before
      break;
    case CASE(far):
      y[i + (1 << 28)] = v;                                    //! far
      break;
    case CASE(overflow):
      y[i] = static_cast<float>(2147483600 + t * static_cast<int>(x[2 * n]));  //! overflow
      break;
    case CASE(missing barrier):
      s[t] = v;
      __syncthreads();
      y[i] = s[n - 1 - t];
      s[t] = v;                                                //! missing barrier
      break;
    case CASE(missing barrier dynamic):
      d[t] = v;
      __syncthreads();
      y[i] = d[n - 1 - t];
      d[t] = v;                                                //! missing barrier dynamic
      break;
    case CASE(missing barrier global):
      y[i] = v;
      LANE_XOR(v, 1);
      y[i] = y[i ^ 1];                                         //! missing barrier global
      break;
    case CASE(shuffle only):
      s[t] = v;
      y[i] = LANE_XOR(v, 1);
      y[i] += s[t ^ 1];                                        //! shuffle only
      break;
    case CASE(atomic without barrier):
      if (t == 0) flag = 0;
      __syncthreads();
      atomicAdd(&flag, 1);
      LANE_XOR(v, 1);
      y[i] = static_cast<float>(flag);                         //! atomic without barrier
      break;
    case CASE(two blocks):
      y[t] = v;                                                //! two blocks
      y[n + t] = v;
      break;
    case CASE(divergent barrier):
      if (t < 40) __syncthreads();                             //! divergent barrier
      y[i] = v;
      break;
    case CASE(unwritten static):
      if (t != 5) s[t] = v;
      __syncthreads();
      y[i] = s[t];                                             //! unwritten static
      break;
    case CASE(unwritten dynamic):
      if (t != 5) d[t] = v;
      __syncthreads();
      y[i] = d[t];                                             //! unwritten dynamic
      break;
    case CASE(unwritten global):
      y[i] += v;                                               //! unwritten global
      break;
  }
}
"""

_CUDA = """#include <cuda_runtime.h>
#define LANE_XOR(v, mask) __shfl_xor_sync(0xffffffffu, v, mask)
#define WARP_BARRIER __syncwarp()
#define DYNAMIC(type, name) extern __shared__ type name[];
"""
_HIP = """#include <hip/hip_runtime.h>
#define LANE_XOR(v, mask) __shfl_xor(v, mask)
#define WARP_BARRIER __builtin_amdgcn_wave_barrier()
#define DYNAMIC(type, name) HIP_DYNAMIC_SHARED(type, name)
"""
_LAUNCH = {
    "cuda": """
#ifndef __CUDACC_RTC__
extern "C" cudaError_t run(const float* x, float* y, int* count, cudaStream_t stream) {
  cudaLaunchConfig_t config = {BLOCKS, THREADS, THREADS * sizeof(float), stream, nullptr, 0};
  return cudaLaunchKernelEx(&config, k, x, y, count);
}
#endif
""",
    "hip": """
#ifndef __HIPCC_RTC__
extern "C" hipError_t run(const float* x, float* y, int* count, hipStream_t stream) {
  hipLaunchKernelGGL(k, BLOCKS, THREADS, THREADS * sizeof(float), stream, x, y, count);
  return hipGetLastError();
}
#endif
""",
}


def faulty_text(language: str) -> str:
    """The file, with `DYNAMIC` written out: macros of the text may not declare shared memory."""
    vendor, dynamic = (_CUDA, "extern __shared__ float d[];") if language == "cuda" else (
        _HIP, "HIP_DYNAMIC_SHARED(float, d)",
    )  # fmt: skip
    body = BODY.replace("DYNAMIC(float, d)", dynamic)
    body = re.sub(r"CASE\(([^()]*)\)", lambda m: str(number(m[1])), body)
    sizes = f"constexpr int THREADS = {THREADS}, BLOCKS = {BLOCKS};\n"
    vendor = "".join(f"{line}\n" for line in vendor.splitlines() if "DYNAMIC" not in line)
    return vendor + sizes + body + _LAUNCH[language]


def number(case: str) -> int:
    """What chooses `case`."""
    return CASES.setdefault(case, len(CASES) + 1)


def line_of(text: str, case: str) -> int:
    """The line of the fault called `case`."""
    return next(n for n, line in enumerate(text.splitlines(), 1) if line.endswith(f"//! {case}"))


def inputs_for(case: str) -> dict[str, np.ndarray]:
    """Arrays that choose `case`."""
    x = np.arange(2 * THREADS + 1, dtype=np.float32)
    x[2 * THREADS] = number(case)
    return {"x": x, "count": np.zeros(1, np.int32)}


def simt_program(
    language: str, text: str, buffers: tuple[Buffer, ...], steps: tuple[Launch, ...] = ()
) -> Program:
    """`text` with the launcher `run`."""
    source = Source.model_validate(
        {"name": f"kernel.{'cu' if language == 'cuda' else 'hip'}", "language": language,
         "head": "", "sizes": "", "body": text}
    )  # fmt: skip
    return Program(
        task="test", task_hash="0", workload="check",
        target=Target.parse("cuda:sm_90a" if language == "cuda" else "hip:gfx942"),
        sources=(source,), buffers=buffers, steps=steps,
        variant=Variant(templates=("c/test",), parameters={}, index_bits=32),
        launcher="run", constants={},
    )  # fmt: skip


def faulty_program(language: str) -> Program:
    """The kernel with many faults."""
    arrays = inputs_for("clean")
    buffers = (
        buffer("x", arrays["x"], "input"),
        buffer("y", np.empty(2 * THREADS, np.float32), "output"),
        buffer("count", arrays["count"], "state"),
    )
    launch = Launch(
        source="kernel.cu", entry="k", args=("x", "y", "count"), reads=("x", "count"),
        writes=("y", "count"),
        configuration=Simt(
            grid=(BLOCKS, 1, 1), block=(THREADS, 1, 1), dynamic_shared=4 * THREADS, sub_group=32
        ),
    )  # fmt: skip
    steps = (launch,) if language == "cuda" else ()
    return simt_program(language, faulty_text(language), buffers, steps)

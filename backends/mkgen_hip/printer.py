"""ROCm/HIP: the keyword table."""

from __future__ import annotations

from collections.abc import Sequence

from mkgen.codegen.plan import LaunchPlan, Plan
from mkgen.expression import Int, to_c
from mkgen_simt.cuda_like import CudaLikePrinter
from mkgen_simt.printer import wrap

#: bfloat16 as bits: the header of a type for it came with ROCm 5.7 and changed since.
_BFLOAT16 = {
    "from_bfloat16": """// bfloat16 is the upper half of a float.
__device__ inline float from_bfloat16(unsigned short bits) {
  return __uint_as_float((unsigned)bits << 16);
}

""",
    "to_bfloat16": """// Rounds to the nearest bfloat16, ties to even; a NaN stays one.
__device__ inline unsigned short to_bfloat16(float value) {
  const unsigned bits = __float_as_uint(value);
  return (isnan(value) ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

""",
}


class HipPrinter(CudaLikePrinter):
    """What HIP spells its own way."""

    language = "hip"
    types = {**CudaLikePrinter.types, "bfloat16": "unsigned short"}
    reads = {**CudaLikePrinter.reads, "bfloat16": "from_bfloat16({0}[{1}])"}
    conversions = _BFLOAT16
    writes = {**CudaLikePrinter.writes, "bfloat16": "{0}[{1}] = to_bfloat16({2});"}
    headers = {"": "hip/hip_runtime.h", "__half": "hip/hip_fp16.h"}
    extension = ".hip"
    error = "hipError_t"
    stream = "hipStream_t"
    rtc_guard = "__HIPCC_RTC__"
    shuffle = "__shfl_xor({0}, {1})"

    def launch(self, plan: LaunchPlan, arguments: Sequence[str], keep: str, width: int) -> str:
        """By the launch macro, which every HIP compiler and plain C++ read."""
        grid, block = (f"dim3({self.extent3(e)})" for e in (plan.grid, plan.block))
        shared = "0" if plan.dynamic_shared == Int(0) else to_c(plan.dynamic_shared)
        items = [plan.entry, grid, block, shared, "stream", *arguments]
        return wrap("  hipLaunchKernelGGL(", items, ");\n", width)

    def sequence(self, plan: Plan) -> str:
        """HIP keeps the first error until it is asked for."""
        body = ""
        for loop, launches in plan.parts():
            text = self.launches(loop, launches, "")
            body += self.looped(plan, loop, text) if loop else text
        return body + "  return hipGetLastError();\n"

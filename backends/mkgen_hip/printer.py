"""ROCm/HIP: the keyword table."""

from __future__ import annotations

from collections.abc import Sequence

from mkgen_simt.cuda_like import CudaLikePrinter
from mkgen_simt.printer import wrap


class HipPrinter(CudaLikePrinter):
    """What HIP spells its own way."""

    language = "hip"
    types = {**CudaLikePrinter.types, "bfloat16": "__hip_bfloat16"}
    headers = {
        "": "hip/hip_runtime.h",
        "__half": "hip/hip_fp16.h",
        "__hip_bfloat16": "hip/hip_bf16.h",
    }
    extension = ".hip"
    error = "hipError_t"
    stream = "hipStream_t"
    rtc_guard = "__HIPCC_RTC__"
    shuffle = "__shfl_xor({0}, {1})"

    def launch(self, entry: str, grid: str, block: str, shared: str, arguments: str) -> str:
        """By the launch macro, which every HIP compiler and plain C++ read."""
        items = [entry, f"dim3({grid})", f"dim3({block})", shared or "0", "stream"]
        return wrap("  hipLaunchKernelGGL(", items + arguments.split(", "), ");\n")

    def sequence(self, launches: Sequence[str]) -> str:
        """HIP keeps the first error until it is asked for."""
        return "".join(launches) + "  return hipGetLastError();\n"

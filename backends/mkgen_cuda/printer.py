"""CUDA C++: the keyword table."""

from __future__ import annotations

from collections.abc import Sequence

from mkgen.codegen.plan import LaunchPlan, Plan
from mkgen.expression import Int, to_c
from mkgen_simt.cuda_like import CudaLikePrinter
from mkgen_simt.printer import wrap


class CudaPrinter(CudaLikePrinter):
    """What CUDA spells its own way."""

    language = "cuda"
    types = {**CudaLikePrinter.types, "bfloat16": "__nv_bfloat16"}
    headers = {"": "cuda_runtime.h", "__half": "cuda_fp16.h", "__nv_bfloat16": "cuda_bf16.h"}
    extension = ".cu"
    error = "cudaError_t"
    stream = "cudaStream_t"
    rtc_guard = "__CUDACC_RTC__"
    shuffle = "__shfl_xor_sync(0xffffffffu, {0}, {1})"

    def launch(self, plan: LaunchPlan, arguments: Sequence[str], keep: str, width: int) -> str:
        """By cudaLaunchKernelEx, which is plain C++."""
        shared = "" if plan.dynamic_shared == Int(0) else to_c(plan.dynamic_shared)
        items = ["&config", plan.entry, *arguments]
        return (
            f"  config.gridDim = dim3({self.extent3(plan.grid)});\n"
            f"  config.blockDim = dim3({self.extent3(plan.block)});\n"
            + (f"  config.dynamicSmemBytes = {shared};\n" if shared else "")
            + wrap(f"  {keep}cudaLaunchKernelEx(", items, ");\n", width)
        )

    def sequence(self, plan: Plan) -> str:
        """The last launch's error is returned, an earlier one ends the function."""
        head = "  cudaLaunchConfig_t config = {};\n  config.stream = stream;\n"
        *parts, (loop, launches) = plan.parts()
        if loop is None:  # what comes last is a launch, not a loop
            parts.append((None, launches[:-1]))
        else:
            parts.append((loop, launches))
        body = ""
        for around, inner in parts:
            text = "".join(
                self.launches(around, [p], "status = ")
                + "  if (status != cudaSuccess) return status;\n"
                for p in inner
            )
            body += self.looped(plan, around, text) if around else text
        status = "  cudaError_t status;\n" if body else ""
        if loop is not None:
            return f"{head}  cudaError_t status = cudaSuccess;\n{body}  return status;\n"
        return head + status + body + self.launches(None, launches[-1:], "return ")

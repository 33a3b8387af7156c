"""CUDA C++: the keyword table."""

from __future__ import annotations

from collections.abc import Sequence

from mkgen_simt.cuda_like import CudaLikePrinter


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

    def launch(self, entry: str, grid: str, block: str, shared: str, arguments: str) -> str:
        """By cudaLaunchKernelEx, which is plain C++."""
        bytes_line = f"  config.dynamicSmemBytes = {shared};\n" if shared else ""
        return (
            f"  config.gridDim = dim3({grid});\n  config.blockDim = dim3({block});\n{bytes_line}"
            f"  {{}}cudaLaunchKernelEx(&config, {entry}, {arguments});\n"
        )

    def sequence(self, launches: Sequence[str]) -> str:
        """The last launch's error is returned, an earlier one ends the function."""
        head = "  cudaLaunchConfig_t config = {};\n  config.stream = stream;\n"
        if len(launches) == 1:
            return head + launches[0].replace("{}cuda", "return cuda")
        body = "".join(
            text.replace("{}cuda", "status = cuda")
            + "  if (status != cudaSuccess) return status;\n"
            for text in launches[:-1]
        )
        last = launches[-1].replace("{}cuda", "return cuda")
        return head + "  cudaError_t status;\n" + body + last

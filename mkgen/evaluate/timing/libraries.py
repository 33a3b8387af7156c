"""Kernels by name: those of libraries and of PyTorch, and those of whoever wrote the candidate.

Names say who compiled a kernel, not what is in it: a wrapper that renames a library's kernels is
not seen here. It is a check against calling a library and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: What names of kernels begin with, after `void ` and template qualifiers; by where they are from.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "PyTorch": (
        "at::", "at_cuda_detail::", "c10::", "torch::", "pytorch_flash::", "fmha_", "flash_fwd",
        "flash_bwd", "(anonymous namespace)::elementwise_kernel", "vectorized_elementwise_kernel",
        "unrolled_elementwise_kernel", "elementwise_kernel", "reduce_kernel", "softmax_warp_",
        "cunn_SoftMax", "CatArrayBatchedCopy", "distribution_elementwise",
    ),
    "torch.compile": (
        "triton_poi_", "triton_red_", "triton_per_", "triton_tem_", "triton_for_", "triton_mm",
        "triton_bmm", "triton_conv",
    ),
    "cuBLAS, CUTLASS": (
        "cublas", "gemv2", "gemvN", "gemvT", "gemvx::", "gemmk1_", "gemmSN_",
        "splitKreduce", "dot_kernel", "reduce_1Block", "cutlass", "nvjet_", "ampere_",
        "turing_", "volta_", "maxwell_",
        "sm70_xmma", "sm75_xmma", "sm80_xmma", "sm86_xmma", "sm90_xmma", "sm100_xmma",
    ),
    "cuDNN": (
        "cudnn", "xmma_", "implicit_convolve", "winograd", "bn_fw_", "bn_bw_", "pooling_fw",
        "nchwToNhwc", "nhwcToNchw", "conv2d_grouped_direct", "fft2d_", "fft1d_",
    ),
    "CUB, Thrust": ("cub::", "thrust::"),
    "cuFFT, cuSPARSE, cuSOLVER": ("cufft", "vector_fft", "regular_fft", "cusparse", "cusolver"),
    "rocBLAS, Tensile, Composable Kernel": (
        "rocblas", "Cijk_", "Tensile", "ck::", "hipblas", "kernel_gemm_xdl", "kernel_grouped_conv",
    ),
    "MIOpen": ("miopen", "MIOpen", "igemm_", "gridwise_", "batched_transpose_"),
    "oneDNN, oneMKL": ("dnnl", "onednn", "gemm_kernel", "gen9_", "jit_", "ref_", "xe_hp", "mkl"),
    "copies": ("Memcpy", "Memset", "memcpy", "memset", "CopyBuffer", "FillBuffer"),
}  # fmt: skip

_BEFORE = re.compile(r"^(?:void|static|__global__|const|\s)+")


def library_of(kernel: str) -> str:
    """Whose library `kernel` is from; empty for one that is in none that is known."""
    name = _BEFORE.sub("", kernel)
    for library, prefixes in LIBRARIES.items():
        if name.startswith(prefixes):
            return library
    return ""


def own_kernels(kernels: Iterable[str]) -> tuple[str, ...]:
    """Those that no known library brings."""
    return tuple(name for name in kernels if not library_of(name))


def refusal(kernels: Iterable[str]) -> str:
    """Why what launched `kernels` is no kernel of its own; empty when it is, or nobody saw."""
    seen = tuple(kernels)
    if not seen or own_kernels(seen):
        return ""
    names = ", ".join(dict.fromkeys(library_of(name) for name in seen))
    return f"every kernel it launched is a library's ({names}): it computes nothing itself"

"""Vendors' libraries and variables, as data for every backend that reaches their devices."""

from __future__ import annotations

from mkgen.codegen.backend import Library

NVIDIA_VARIABLES = ("CUDA_", "NVIDIA_")
AMD_VARIABLES = ("ROCM_", "ROCR_", "HIP_", "HSA_")
INTEL_VARIABLES = ("ONEAPI_", "SYCL_", "UR_", "ZE_")
OPENCL_VARIABLES = ("OCL_", "POCL_")

NVIDIA_LIBRARIES = (
    Library(
        "cuBLAS, CUTLASS",
        words=("cublas", "cutensor", "nvjitlink"),
        namespaces=("cutlass", "cute", "raft"),
        kernels=(
            "cublas", "gemv2", "gemvN", "gemvT", "gemvx::", "gemmk1_", "gemmSN_",
            "splitKreduce", "dot_kernel", "reduce_1Block", "cutlass", "nvjet_", "ampere_",
            "turing_", "volta_", "maxwell_",
            "sm70_xmma", "sm75_xmma", "sm80_xmma", "sm86_xmma", "sm90_xmma", "sm100_xmma",
        ),
    ),
    Library(
        "cuDNN",
        words=("cudnn",),
        namespaces=("cudnn_frontend",),
        kernels=(
            "cudnn", "xmma_", "implicit_convolve", "winograd", "bn_fw_", "bn_bw_", "pooling_fw",
            "nchwToNhwc", "nhwcToNchw", "conv2d_grouped_direct", "fft2d_", "fft1d_",
        ),
    ),
    Library("CUB, Thrust", namespaces=("cub", "thrust"), kernels=("cub::", "thrust::")),
    Library(
        "cuFFT, cuSPARSE, cuSOLVER, cuRAND",
        words=("cufft", "cusparse", "cusolver", "curand"),
        kernels=("cufft", "vector_fft", "regular_fft", "cusparse", "cusolver"),
    ),
)  # fmt: skip
AMD_LIBRARIES = (
    Library(
        "rocBLAS, Tensile, Composable Kernel",
        words=("rocblas", "roctensor", "hipblas", "hiptensor"),
        namespaces=("ck", "ck_tile"),
        kernels=(
            "rocblas", "Cijk_", "Tensile", "ck::", "hipblas", "kernel_gemm_xdl",
            "kernel_grouped_conv",
        ),
    ),
    Library(
        "MIOpen",
        words=("miopen", "rocdnn", "hipdnn"),
        kernels=("miopen", "MIOpen", "igemm_", "gridwise_", "batched_transpose_"),
    ),
    Library("hipCUB, rocPRIM", namespaces=("hipcub", "rocprim")),
    Library(
        "rocFFT, rocSPARSE, rocSOLVER, rocRAND",
        words=(
            "rocfft", "rocsparse", "rocsolver", "rocrand", "hipfft", "hipsparse", "hipsolver",
            "hiprand",
        ),
    ),
)  # fmt: skip
INTEL_LIBRARIES = (
    Library(
        "oneDNN, oneMKL",
        words=("dnnl_",),
        namespaces=("mkl", "dnnl", "oneapi_mkl"),
        kernels=("dnnl", "onednn", "gemm_kernel", "gen9_", "jit_", "ref_", "xe_hp", "mkl"),
    ),
)

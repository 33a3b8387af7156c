"""CUDA C++: compiled by NVRTC, run on an NVIDIA GPU by CuPy or on a CPU by SIMT-on-host."""

from mkgen_cuda.backend import CudaBackend

__all__ = ["CudaBackend"]

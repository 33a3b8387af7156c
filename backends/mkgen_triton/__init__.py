"""Triton kernels for NVIDIA and AMD GPUs: cross-compiled, interpreted, and run through PyTorch."""

from mkgen_triton.backend import TritonBackend

__all__ = ["TritonBackend"]

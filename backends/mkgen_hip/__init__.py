"""HIP: compiled for AMD GPUs by ROCm's clang or LLVM's; runs there, on a CPU, or by proxy."""

from mkgen_hip.backend import HipBackend

__all__ = ["HipBackend"]

"""OpenCL C for CPUs, Intel GPUs and NVIDIA GPUs: the backend named `opencl`."""

from mkgen_opencl.backend import OpenclBackend

__all__ = ["OpenclBackend"]

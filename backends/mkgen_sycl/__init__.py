"""SYCL for Intel GPUs and CPUs: the backend that `mkgen.backends` names `sycl`."""

from mkgen_sycl.backend import SyclBackend

__all__ = ["SyclBackend"]

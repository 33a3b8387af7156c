"""Pallas kernels for TPUs: compiled ahead of time by libtpu, interpreted on a CPU, run by JAX."""

from mkgen_pallas.backend import PallasBackend

__all__ = ["PallasBackend"]

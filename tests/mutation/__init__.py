"""Mutants: rendered kernels with one mechanical fault each, and whether the protocol sees it."""

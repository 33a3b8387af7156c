"""Nests, the numpy interpreter and fusion."""

"""Choosing parameters: the static cost model and the search over it."""

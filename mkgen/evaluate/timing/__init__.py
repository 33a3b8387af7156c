"""Timing: what is asked of whom, and what the numbers may be believed."""

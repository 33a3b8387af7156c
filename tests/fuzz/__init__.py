"""Fuzzing of every parser that reads what mkgen did not write: see docs/architecture.md."""

"""A user's own file as a task: modules, functions and KernelBench-style files, sizes included."""

from mkgen.foreign.load import gives_inputs, holds_task, load_foreign
from mkgen.foreign.trace import traced

__all__ = ["gives_inputs", "holds_task", "load_foreign", "traced"]

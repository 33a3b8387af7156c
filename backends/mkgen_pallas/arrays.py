"""numpy arrays to what JAX takes, and back: JAX has no 64-bit types unless asked for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mkgen.codegen.backend import Arrays
from mkgen.codegen.source_module import argument_buffers, mutated_states
from mkgen.errors import ExecutionError
from mkgen.program import Buffer, BufferRole, Program


def jax_dtype(name: str) -> np.dtype[Any]:
    """The dtype JAX uses for a buffer of dtype `name`: int64 becomes int32.

    ExecutionError for float64: rounding it to float32 would be an error of ours, not the kernel's.
    """
    if name == "float64":
        raise ExecutionError("JAX rounds float64 to float32: pallas programs cannot use float64")
    if name == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype("int32" if name == "int64" else name)


def to_jax_input(array: np.ndarray, buffer: Buffer) -> np.ndarray:
    """A copy of `array` in JAX's dtype; ExecutionError when it does not fit `buffer` or int32."""
    if tuple(array.shape) != buffer.shape or str(array.dtype) != buffer.dtype:
        raise ExecutionError(
            f"input {buffer.name!r} is {array.dtype} {array.shape}, the program wants "
            f"{buffer.dtype} {buffer.shape}"
        )
    narrow = np.array(array, dtype=jax_dtype(buffer.dtype), order="C", copy=True)
    if buffer.dtype == "int64" and not np.array_equal(narrow, array):
        raise ExecutionError(
            f"input {buffer.name!r} has int64 values that JAX's int32 cannot hold; "
            "give values below 2**31"
        )
    return narrow


def make_arguments(program: Program, inputs: Arrays) -> list[np.ndarray]:
    """Arrays for the launcher in its order; ExecutionError when one is missing."""
    found = []
    for buffer in argument_buffers(program):
        if buffer.name in inputs:
            found.append(to_jax_input(inputs[buffer.name], buffer))
        elif buffer.initial is not None:
            found.append(np.full(buffer.shape, buffer.initial, jax_dtype(buffer.dtype)))
        else:
            raise ExecutionError(f"no array was given for the input {buffer.name!r}")
    return found


def collect(program: Program, returned: Any) -> dict[str, np.ndarray]:
    """What a launcher returned, by buffer name: outputs in order, then mutated states.

    JAX arrays cannot be changed in place, so that a new state is returned. int32 is widened where
    the buffer is int64. ExecutionError when count, shape or dtype is not what the program says.
    """
    buffers = (*program.with_role(BufferRole.OUTPUT), *mutated_states(program))
    values: Sequence[Any] = returned if isinstance(returned, tuple | list) else (returned,)
    if len(values) != len(buffers):
        raise ExecutionError(
            f"{program.launcher} returned {len(values)} values; the program has {len(buffers)} "
            f"outputs and mutated states: {', '.join(b.name for b in buffers)}"
        )
    found: dict[str, np.ndarray] = {}
    for buffer, value in zip(buffers, values, strict=True):
        array = np.asarray(value)
        if tuple(array.shape) != buffer.shape or array.dtype != jax_dtype(buffer.dtype):
            raise ExecutionError(
                f"{program.launcher} returned {array.dtype} {array.shape} for {buffer.name!r}, "
                f"which is {jax_dtype(buffer.dtype)} {buffer.shape}"
            )
        dtype = np.int64 if buffer.dtype == "int64" else array.dtype
        found[buffer.name] = np.array(array, dtype=dtype, order="C", copy=True)
    return found

"""numpy arrays to torch tensors and back; bfloat16 travels as `ml_dtypes.bfloat16`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mkgen.codegen.source_module import mutated_states
from mkgen.errors import ExecutionError, InputChangedError
from mkgen.program import Buffer, BufferRole, Program


def torch_dtype(name: str) -> Any:
    """The torch dtype called `name`, as in `Buffer.dtype`."""
    import torch

    return getattr(torch, name)


def to_torch(array: np.ndarray, buffer: Buffer) -> Any:
    """A CPU tensor that holds a copy of `array`; ExecutionError when it does not fit `buffer`."""
    import torch

    if tuple(array.shape) != buffer.shape or str(array.dtype) != buffer.dtype:
        raise ExecutionError(
            f"input {buffer.name!r} is {array.dtype} {array.shape}, the program wants "
            f"{buffer.dtype} {buffer.shape}"
        )
    copy = np.array(array, order="C", copy=True)
    if buffer.dtype == "bfloat16":
        return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(copy)


def to_numpy(tensor: Any) -> np.ndarray:
    """A C-contiguous numpy copy of `tensor`."""
    import torch

    host = tensor.detach().cpu().contiguous()
    if host.dtype == torch.bfloat16:
        import ml_dtypes

        bits: np.ndarray = host.view(torch.int16).numpy()
        return np.array(bits.view(ml_dtypes.bfloat16))
    return np.array(host.numpy(), order="C", copy=True)


def collect(program: Program, returned: Any, arguments: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """As `named_outputs`, in numpy."""
    named = named_outputs(program, returned, arguments)
    return {name: to_numpy(value) for name, value in named.items()}


def named_outputs(program: Program, returned: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors a launcher returned, by buffer name, and the mutated states.

    A launcher returns its outputs in order, or one output; states it mutates in place.
    ExecutionError when count, shape or dtype is not what the program says.
    """
    outputs = program.with_role(BufferRole.OUTPUT)
    values: Sequence[Any] = returned if isinstance(returned, tuple | list) else (returned,)
    if len(values) != len(outputs):
        raise ExecutionError(
            f"{program.launcher} returned {len(values)} values; the program has "
            f"{len(outputs)} outputs: {', '.join(b.name for b in outputs)}"
        )
    found: dict[str, Any] = {}
    for buffer, value in zip(outputs, values, strict=True):
        if tuple(value.shape) != buffer.shape or value.dtype != torch_dtype(buffer.dtype):
            raise ExecutionError(
                f"{program.launcher} returned {value.dtype} {tuple(value.shape)} for "
                f"{buffer.name!r}, which is {buffer.dtype} {buffer.shape}"
            )
        found[buffer.name] = value
    for buffer in mutated_states(program):
        found[buffer.name] = arguments[buffer.name]
    return found


def check_unchanged(program: Program, inputs: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """ExecutionError when the launcher changed an argument that no launch may write."""
    may_change = {b.name for b in mutated_states(program)}
    for name, tensor in after.items():
        if name in may_change:
            continue
        before = np.ascontiguousarray(inputs[name])
        if before.tobytes() != to_numpy(tensor).tobytes():
            raise InputChangedError(f"{program.launcher} changed its input {name!r}")


def make_arguments(program: Program, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """CPU tensors for the launcher, by name in its order; ExecutionError when one is missing."""
    from mkgen.codegen.source_module import argument_buffers

    found: dict[str, Any] = {}
    for buffer in argument_buffers(program):
        if buffer.name in inputs:
            found[buffer.name] = to_torch(inputs[buffer.name], buffer)
        elif buffer.initial is not None:
            import torch

            found[buffer.name] = torch.full(
                buffer.shape, buffer.initial, dtype=torch_dtype(buffer.dtype)
            )
        else:
            raise ExecutionError(f"no array was given for the input {buffer.name!r}")
    return found

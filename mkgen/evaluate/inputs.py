"""What a reference is called with: drawn inputs, and the parameters and state of a module."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mkgen.document import content_hash
from mkgen.errors import UserError
from mkgen.evaluate.arrays import DTYPES, is_floating
from mkgen.expression import evaluate, parse
from mkgen.task import Sizes, Task, Tensor, Workload

if TYPE_CHECKING:
    import torch

#: What a counter among a module's buffers (`num_batches_tracked`) has counted already.
_COUNTED = 41

Inputs = dict[str, np.ndarray]
Number = TypeVar("Number", int, float)


def draw(task: Task, workload: Workload, seed: int) -> Inputs:
    """The inputs of `task` at `workload`: the same for the same seed, whatever else is drawn."""
    return {
        name: _draw(tensor, workload.sizes, generator(seed, task.name, workload.name, name), name)
        for name, tensor in task.inputs.items()
    }


def generator(*parts: object) -> np.random.Generator:
    """Random numbers that depend on `parts` alone."""
    return np.random.default_rng(int(content_hash(*(str(p) for p in parts)), 16))


def _draw(tensor: Tensor, sizes: Sizes, random: np.random.Generator, name: str) -> np.ndarray:
    dtype, shape = DTYPES[tensor.dtype], tensor.resolve(sizes)
    if dtype == np.bool_:
        return np.asarray(random.integers(0, 2, shape, dtype=np.uint8)).view(np.bool_)
    if tensor.distribution in ("integers", "distinct"):
        return _integers(tensor, sizes, shape, random, name)
    if not is_floating(dtype):
        raise UserError(
            f"input {name!r} is {tensor.dtype} but its distribution is {tensor.distribution!r}; "
            f'write distribution="integers", low=…, high=…'
        )
    # float64 for float64 only: a large array must not pass through one of twice its size
    wide = np.float64 if dtype == np.float64 else np.float32
    if tensor.distribution == "normal":
        values = random.standard_normal(shape, dtype=wide)
    else:
        low, high = (float(bound(b, sizes)) for b in (tensor.low, tensor.high))
        values = random.random(shape, dtype=wide)
        values *= wide(high - low)
        values += wide(low)
    scale, shift = bound(tensor.scale, sizes), bound(tensor.shift, sizes)
    if scale != 1.0:
        values *= wide(scale)
    if shift != 0.0:
        values += wide(shift)
    return np.asarray(values).astype(dtype, copy=False)


def _integers(
    tensor: Tensor, sizes: Sizes, shape: tuple[int, ...], random: np.random.Generator, name: str
) -> np.ndarray:
    dtype = DTYPES[tensor.dtype]
    drawn: Any = np.int64 if is_floating(dtype) else dtype
    low, high = bound(tensor.low, sizes), bound(tensor.high, sizes)
    try:
        if tensor.distribution == "distinct":
            values = low + random.choice(high - low, shape, replace=False)
        else:
            values = random.integers(low, high, shape, dtype=drawn)
    except ValueError as error:
        raise UserError(f"input {name!r}: no {tensor.dtype} integers to draw: {error}") from error
    return np.asarray(values).astype(dtype, copy=False)


def bound(written: Number | str, sizes: Sizes) -> Number | int:
    """A bound, scale or shift of a tensor at `sizes`: a number, or an expression over them."""
    return evaluate(parse(written), sizes) if isinstance(written, str) else written


@dataclass(frozen=True)
class Reference:
    """A reference ready to be called, with what it holds."""

    call: Callable[..., Any]
    """Takes torch tensors in the order of `task.inputs`."""
    parameters: Inputs
    """Parameters, then buffers, in the module's own order; empty for a function."""
    names: Mapping[str, str]
    """`layer1_weight` -> `layer1.weight`."""

    def state(self) -> Inputs:
        """What the module's parameters and buffers hold now, by name."""
        held = _held(self.call)
        return {flat: to_numpy(held[dotted]) for flat, dotted in self.names.items()}

    def copy(self) -> Reference:
        """One whose state is its own."""
        return Reference(copy.deepcopy(self.call), self.parameters, self.names)


def reference_call(task: Task, sizes: Sizes) -> Reference:
    """The callable of `task` for `sizes`, and its ordered parameter arrays by argument name."""
    import torch

    call = task.module(sizes)
    if not isinstance(call, torch.nn.Module):
        return Reference(call, {}, {})
    # The task may hold one module for all sizes: what is changed below must not be the user's.
    call = copy.deepcopy(call)
    held = _held(call)
    names = {dotted.replace(".", "_"): dotted for dotted in held}
    if len(names) != len(held) or names.keys() & task.inputs.keys():
        twice = sorted(names.keys() & task.inputs.keys()) or sorted(held)
        raise UserError(
            f"task {task.name}: parameters and inputs share a name among {twice}; rename the input"
        )
    with torch.no_grad():
        for flat, dotted in names.items():
            _make_visible(held[dotted], task.name, flat)
    return Reference(call, {flat: to_numpy(held[dotted]) for flat, dotted in names.items()}, names)


def _held(call: Callable[..., Any]) -> dict[str, torch.Tensor]:
    import torch

    if not isinstance(call, torch.nn.Module):
        return {}
    return {**dict(call.named_parameters()), **dict(call.named_buffers())}


def _make_visible(tensor: torch.Tensor, task: str, name: str) -> None:
    # A weight of ones or a bias of zeros, as modules start with, would not be missed by a check
    # if a kernel forgot it. Only upward, because a running variance must stay positive.
    import torch

    if not tensor.is_floating_point():
        if tensor.dim() == 0 and tensor.dtype != torch.bool:
            tensor.add_(_COUNTED)  # a counter that starts at 0 is 1 afterwards, whoever writes it
        return
    if tensor.numel() == 0:
        return
    if bool((tensor != tensor.flatten()[0]).any()):
        return
    noise = generator(task, name).random(tuple(tensor.shape), dtype=np.float32)
    tensor.add_(torch.from_numpy(np.asarray(noise)).to(tensor.dtype), alpha=0.25)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A private contiguous copy of `tensor`; bfloat16 as numpy has it."""
    import torch

    plain = tensor.detach().cpu().contiguous()
    if plain.dtype == torch.bfloat16:
        return np.array(plain.view(torch.int16).numpy()).view(DTYPES["bfloat16"])
    return np.array(plain.numpy())


def to_torch(array: np.ndarray) -> torch.Tensor:
    """A tensor with a copy of `array`."""
    import torch

    if array.dtype == DTYPES["bfloat16"]:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())

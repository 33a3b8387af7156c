"""How a file draws its inputs, seen while its tensors have no memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from mkgen.errors import UserError

_KEPT = frozenset(
    ["to", "cuda", "cpu", "float", "half", "double", "bfloat16", "contiguous", "clone", "detach",
     "requires_grad_", "view", "reshape", "unsqueeze", "squeeze", "transpose", "permute", "t",
     "expand", "flatten"]
)  # fmt: skip
_POSITIVE = frozenset(["softmax", "sigmoid", "exp", "square", "abs", "relu", "clamp"])


@dataclass(frozen=True)
class Drawn:
    """A tensor that a file made: its shape, and how its values are drawn."""

    shape: tuple[int, ...]
    dtype: str
    distribution: str = "normal"
    low: int = 0
    high: int = 1
    scale: float = 1.0
    shift: float = 0.0
    note: str = ""
    """Where the values are drawn in another way than the file does; empty when they are not."""


class _Watch(TorchFunctionMode):
    """Follows what random functions made, through arithmetic with numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, tuple[torch.Tensor, Drawn]] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Runs `function`, and remembers how the values of its result are drawn."""
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            name = getattr(function, "__name__", "")
            made = self._made(name, args, kwargs or {})
            if made is not None:
                self.known[id(result)] = (result, made)
        return result

    def _made(self, name: str, args: Any, kwargs: Any) -> Drawn | None:
        if name in ("rand", "rand_like"):
            return Drawn((), "", "uniform")
        if name in ("randn", "randn_like", "normal"):
            return Drawn((), "", "normal")
        if name == "randint":
            return _integers(args, kwargs)
        source = next((self.known[id(a)][1] for a in args if id(a) in self.known), None)
        if source is None:
            return None
        if name in _KEPT:
            return source
        if name in _POSITIVE:
            return Drawn((), "", "uniform", note=f"{name} of random values: drawn uniform instead")
        numbers = [a for a in args if isinstance(a, int | float) and not isinstance(a, bool)]
        if len(args) == 2 and len(numbers) == 1:
            return _affine(source, name, float(numbers[0]), number_first=args[0] is numbers[0])
        return None

    def of(self, tensor: torch.Tensor) -> Drawn:
        """How `tensor` was drawn. UserError for a dtype that tasks do not have."""
        dtype = str(tensor.dtype).removeprefix("torch.")
        made = self.known.get(id(tensor), (None, None))[1]
        if made is None:
            made = Drawn((), "", note="the file draws it in a way that is not followed")
            if not tensor.is_floating_point():
                made = replace(made, distribution="integers", high=2)
        elif not tensor.is_floating_point() and made.distribution != "integers":
            made = replace(made, distribution="integers", high=2, note="drawn as 0 and 1")
        if tensor.is_complex():
            raise UserError(f"an input is {dtype}; complex numbers have no kernels here")
        return replace(made, shape=tuple(tensor.shape), dtype=dtype)


def _integers(args: Any, kwargs: Any) -> Drawn:
    bounds = [a for a in args if isinstance(a, int)]
    high = kwargs.get("high", bounds[-1] if bounds else 2)
    low = kwargs.get("low", bounds[0] if len(bounds) > 1 else 0)
    return Drawn((), "", "integers", low=int(low), high=int(high))


def _affine(source: Drawn, name: str, number: float, *, number_first: bool) -> Drawn | None:
    scale, shift = source.scale, source.shift
    match name.strip("_"):
        case "mul" | "rmul" | "imul":
            return replace(source, scale=scale * number, shift=shift * number)
        case "truediv" | "div" if not number_first:
            return replace(source, scale=scale / number, shift=shift / number)
        case "add" | "radd" | "iadd":
            return replace(source, shift=shift + number)
        case "sub" | "isub" if not number_first:
            return replace(source, shift=shift - number)
        case "rsub" | "sub":
            return replace(source, scale=-scale, shift=number - shift)
    return None


@contextlib.contextmanager
def drawing() -> Iterator[Callable[[torch.Tensor], Drawn]]:
    """While it is entered, tensors are followed; the function tells how one was drawn."""
    watch = _Watch()
    with watch:
        yield watch.of

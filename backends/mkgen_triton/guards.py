"""Guard zones and poison around tensors, so that the interpreter and a GPU show stray accesses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mkgen.errors import ExecutionError
from mkgen.fence import fenced_bytes, guard_word
from mkgen_simt.nvidia_fence import FencedMemory

#: Bytes before and after each tensor; a multiple of every element size and of 64-byte alignment.
GUARD = 4096
#: Of fenced tensors: what Triton takes for granted of an address where it vectorises.
_ALIGNMENT = 16
#: As float16, bfloat16, float32 or float64 this byte repeated is a NaN; as an integer it is -1.
FILL = 0xFF


class Guards:
    """Allocates tensors inside larger buffers whose margins are checked afterwards."""

    def __init__(self, fenced: bool = False, device: str = "cpu", reach: int = GUARD) -> None:
        """`fenced`: pages that fault stand in for the zones, which shows reads as well; on a CPU
        or an NVIDIA GPU. `device` as PyTorch calls it; `reach`: bytes of a zone, a multiple of 512
        so that a tensor is aligned as PyTorch's allocators align it.
        """
        self._fenced = fenced
        self.device = device
        self._reach = reach
        self._held: list[tuple[str, Any, Any]] = []
        self._fences: list[Any] = []
        """Kernels in flight may use what the launcher has dropped: unmapping waits for none."""

    def allocate(
        self, label: str, shape: tuple[int, ...], dtype: Any, *, given: bool = False
    ) -> Any:
        """A contiguous poisoned tensor with guard zones on both sides; `given`: an argument."""
        import torch

        count = 1
        for extent in shape:
            count *= extent
        size = count * dtype.itemsize
        if self._fenced:
            held = self._at_the_fence(size).view(dtype)
            self._fences.append(held)
            poison(held)
            return held.view(shape)
        reach = self._reach
        whole = torch.empty((reach + size + reach,), dtype=torch.uint8, device=self.device)
        name = str(dtype).removeprefix("torch.")
        word = bytes([FILL]) if given else guard_word(name, len(self._held))
        zone = torch.tensor(list(word), dtype=torch.uint8, device=self.device)
        zone = zone.repeat(reach // len(word))
        self._held.append((label, whole, zone))
        _guard(whole, zone)
        inner = whole[reach : reach + size].view(dtype)
        poison(inner)
        return inner.view(shape)

    def _at_the_fence(self, size: int) -> Any:
        import torch

        if self.device == "cpu":
            return torch.from_numpy(fenced_bytes(size, _ALIGNMENT))
        if size == 0:
            return torch.empty((0,), dtype=torch.uint8, device=self.device)
        return torch.as_tensor(FencedMemory(size, _ALIGNMENT), device=self.device)

    def renew(self) -> None:
        """Makes all guard zones whole."""
        for _, whole, zone in self._held:
            _guard(whole, zone)

    def check(self) -> None:
        """ExecutionError when something wrote into a guard zone."""
        import torch

        for label, whole, pattern in self._held:
            reach = self._reach
            for side, zone in (("before", whole[:reach]), ("after", whole[-reach:])):
                if not torch.equal(zone, pattern):
                    touched = (zone != pattern).nonzero()
                    first = int(touched[0] if side == "after" else touched[-1] - reach)
                    raise ExecutionError(
                        f"out-of-bounds write {side} {label}: {touched.numel()} bytes, the nearest "
                        f"at byte {first} from its {'end' if side == 'after' else 'start'}; "
                        "check the store's mask"
                    )


class GuardedArguments:
    """A launcher's arguments in guarded memory, at the same addresses from run to run."""

    def __init__(self, device: str = "cpu", reach: int = GUARD) -> None:
        """As for Guards."""
        self._device, self._reach = device, reach
        self._kept: dict[bool, tuple[Guards, dict[str, Any]]] = {}
        """By whether they are fenced."""

    def hold(self, made: Mapping[str, Any], fenced: bool) -> tuple[Guards, dict[str, Any]]:
        """What watches the arguments, whole again, and they with the values of `made`."""
        if fenced not in self._kept:
            guards = Guards(fenced, self._device, self._reach)
            held = {
                name: guards.allocate(repr(name), tuple(tensor.shape), tensor.dtype, given=True)
                for name, tensor in made.items()
            }
            self._kept[fenced] = guards, held
        guards, held = self._kept[fenced]
        guards.renew()
        for name, tensor in made.items():
            held[name].copy_(tensor)
        return guards, dict(held)

    def rest(self) -> None:
        """Gives up their memory."""
        self._kept.clear()


def _guard(whole: Any, zone: Any) -> None:
    whole[: len(zone)] = zone
    whole[-len(zone) :] = zone


def poison(tensor: Any) -> None:
    """Fills `tensor` with NaN, or its dtype's lowest integer (True for bool)."""
    import torch

    if tensor.dtype == torch.bool:
        tensor.fill_(True)
    elif tensor.dtype.is_floating_point:
        tensor.fill_(float("nan"))
    else:
        tensor.fill_(torch.iinfo(tensor.dtype).min)


def _plain(guards: Guards, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call asks only for what `guards` give: memory of their device, contiguous."""
    like = getattr(args[0], "device", "cpu") if args else "cpu"
    device = str(kwargs.get("device") or like)
    here = device.partition(":")[0] == guards.device.partition(":")[0]
    return here and kwargs.get("layout") is None and kwargs.get("out") is None


def guarded_allocations(guards: Guards) -> Any:
    """A context in which the torch functions that launchers allocate with use `guards`."""
    import torch
    from torch.overrides import TorchFunctionMode

    def sizes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, ...]:
        given = args if args else (kwargs["size"],)
        shape = given[0] if len(given) == 1 and not isinstance(given[0], int) else given
        return tuple(int(s) for s in shape)

    def zeroed(tensor: Any, value: object) -> Any:
        return tensor if value is None else tensor.fill_(value)

    values: dict[Callable[..., Any], object] = {torch.empty: None, torch.zeros: 0, torch.ones: 1}
    likes: dict[Callable[..., Any], object] = {
        torch.empty_like: None, torch.zeros_like: 0, torch.ones_like: 1,
        torch.Tensor.new_empty: None, torch.Tensor.new_zeros: 0,
    }  # fmt: skip
    methods = {torch.Tensor.new_empty, torch.Tensor.new_zeros}

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = dict(kwargs or {})
            if func not in values and func not in likes:
                return func(*args, **kwargs)
            if not _plain(guards, args, kwargs):
                return func(*args, **kwargs)
            if func in values:
                dtype = kwargs.get("dtype") or torch.get_default_dtype()
                made = guards.allocate("an allocation", sizes(args, kwargs), dtype)
                return zeroed(made, values[func])
            like, *rest = args
            if func not in methods and not like.is_contiguous():
                return func(*args, **kwargs)
            shape = sizes(tuple(rest), kwargs) if func in methods else tuple(like.shape)
            made = guards.allocate("an allocation", shape, kwargs.get("dtype") or like.dtype)
            return zeroed(made, likes[func])

    return Mode()

"""Timing of whatever is called with PyTorch tensors: launchers, modules, a task's own reference.

The device is PyTorch's accelerator, whoever made it, or the CPU, which has no clock but the host's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mkgen.codegen.timer import WARM_UPS, Bracket, Timer, copy_seconds, fills_for
from mkgen.codegen.torch_held import held
from mkgen.errors import ExecutionError

if TYPE_CHECKING:
    import torch

Call = Callable[..., Any]
_POISON = 0xFF  # a NaN of every floating dtype when every byte of it is this


class TorchDevice:
    """Clock, cache and memory of one torch device."""

    def __init__(self, device: torch.device, flush_bytes: int) -> None:
        import torch

        self.device, self._held = device, held()
        self.has_events = device.type != "cpu"
        self._flush = torch.empty(max(1, flush_bytes), dtype=torch.uint8, device=device)

    def wait(self) -> None:
        """Waits for every stream of the device."""
        if self.has_events:
            self._held.synchronize(self.device)

    def flush(self) -> None:
        """Writes the flush buffer, without waiting."""
        self._held.zero(self._flush)

    def elapsed(self, before: Callable[[], None], work: Callable[[], Any]) -> tuple[float, Any]:
        """Device seconds of `work` after `before`, and what it returned."""
        if not self.has_events:
            before()
            begin = self._held.now()
            returned = work()
            return self._held.now() - begin, returned
        start, end = (self._held.event(self.device, enable_timing=True) for _ in range(2))
        self.wait()
        before()
        start.record()
        returned = work()
        end.record()
        self.wait()
        return start.elapsed_time(end) / 1e3, returned


def last_level_cache(device: torch.device) -> int:
    """See Executor.last_level_cache; the L2 of an accelerator, as far as PyTorch tells."""
    import torch

    if device.type == "cpu":
        return 0
    properties = torch.get_device_module(device).get_device_properties(device)
    return int(getattr(properties, "L2_cache_size", 0))


def probe_copies(device: torch.device, size: int, flush_bytes: int, repeats: int) -> list[float]:
    """See Executor.probe_copies."""
    import torch

    clock = TorchDevice(device, flush_bytes)
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return copy_seconds(
        lambda: clock.elapsed(lambda: None, lambda: target.copy_(source))[0],
        clock.flush if flush_bytes else None,
        repeats,
    )


class TorchTimer(Timer):
    """See Timer: `call` on tensors of one device."""

    def __init__(
        self,
        call: Call,
        arguments: Mapping[str, torch.Tensor],
        outputs: Callable[[Any], Mapping[str, torch.Tensor]],
        device: torch.device,
        flush_bytes: int,
        *,
        inputs: tuple[str, ...] = (),
        restored: Mapping[str, torch.Tensor] | None = None,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        """`call` takes `arguments` by position; all are on `device`, contiguous, and ours.

        `outputs` names what a call returned, written state too, and raises ExecutionError where it
        is not what the program promises. `inputs` are the arguments whose values `shift` rolls,
        `restored`, by any name, are tensors that a call may change: state.
        `settle` undoes what a program may have set to keep data in the cache.
        """
        self._call, self._arguments = call, dict(arguments)
        self._outputs, self._inputs, self._settle = outputs, inputs, settle
        self._clock = TorchDevice(device, flush_bytes)
        self._held = held()
        self._places = {**{name: self._arguments[name] for name in inputs}, **(restored or {})}
        self._first = {name: self._held.clone(v.detach()) for name, v in self._places.items()}
        self._fills = 1
        self._last: dict[str, torch.Tensor] = {}

    def warm(self, calls: int = WARM_UPS) -> None:
        """Also finds how long the host takes to queue a call, to be ahead of the device."""
        super().warm(calls)
        fill, _ = self._clock.elapsed(lambda: None, self._clock.flush)
        self._fills = fills_for(self.bracketed().submit, fill) if self._clock.has_events else 1

    def queued(self, shift: int = 0) -> float:
        """See Timer."""
        self._ready(shift)

        def cold() -> None:
            for _ in range(self._fills):
                self._clock.flush()

        seconds, returned = self._clock.elapsed(cold, self._work)
        self._keep(returned)
        return seconds

    def bracketed(self, shift: int = 0) -> Bracket:
        """See Timer."""
        self._ready(shift)
        self._clock.flush()
        self._clock.wait()
        now = self._held.now
        begin = now()
        returned = self._work()
        submitted = now()
        self._clock.wait()
        over = now()
        self._keep(returned)
        return Bracket(over - begin, submitted - begin, now() - over)

    def outputs(self) -> dict[str, np.ndarray]:
        """See Timer."""
        return {name: self._held.array(value) for name, value in self._last.items()}

    def kernels(self) -> tuple[str, ...]:
        """See Timer; by PyTorch's profiler, where it sees the device."""
        if not self._clock.has_events:
            return ()
        from torch.profiler import ProfilerActivity, profile

        kind = getattr(ProfilerActivity, self._clock.device.type.upper(), None)
        if kind is None:
            return ()
        try:
            with profile(activities=[kind]) as profiler:
                self._work()
                self._clock.wait()
        except RuntimeError:  # no library of the driver's that traces
            return ()
        return tuple(e.name for e in profiler.events() if e.device_type.name != "CPU")

    def close(self) -> None:
        """See Timer."""
        self._arguments.clear()
        self._places.clear()
        self._first.clear()
        self._last.clear()

    def _work(self) -> Any:
        import torch

        with torch.no_grad():
            return self._call(*self._arguments.values())

    def _ready(self, shift: int) -> None:
        import torch

        for value in self._last.values():
            self._held.fill(value, math.nan if value.is_floating_point() else 1)
        self._last.clear()
        for name, first in self._first.items():
            values = first
            if shift and name in self._inputs:
                values = self._held.roll(first.reshape(-1), shift).reshape(first.shape)
            with torch.no_grad():
                self._held.copy(self._places[name], values)
        self._settle()
        self._clock.wait()

    def _keep(self, returned: Any) -> None:
        """Copies the outputs aside and poisons the memory that the next call may get for its own.

        To allocate and fill it before a call would be part of what is timed.
        """
        import torch

        named = self._outputs(returned)
        for name, value in named.items():
            if type(value) not in (self._held.tensor, torch.nn.Parameter):
                raise ExecutionError(f"{name} is a {type(value).__name__}, not a plain tensor")
        self._last = {name: self._held.clone(value.detach()) for name, value in named.items()}
        self._clock.wait()
        ours = (*self._arguments.values(), *self._places.values())
        own = {value.untyped_storage().data_ptr() for value in ours}
        for value in named.values():
            storage = value.untyped_storage()
            if storage.data_ptr() not in own and storage.nbytes():
                whole = torch.empty(0, dtype=torch.uint8, device=value.device)
                self._held.fill(whole.set_(storage), _POISON)

"""Timing of whatever is called with PyTorch tensors: launchers, modules, a task's own reference.

The device is PyTorch's accelerator, whoever made it, or the CPU, which has no clock but the host's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mkgen.codegen.timer import WARM_UPS, Bracket, Timer, copy_seconds, fills_for
from mkgen.errors import ExecutionError

if TYPE_CHECKING:
    import torch

Call = Callable[..., Any]
_POISON = 0xFF  # a NaN of every floating dtype when every byte of it is this


class TorchDevice:
    """Clock, cache and memory of one torch device."""

    def __init__(self, device: torch.device, flush_bytes: int) -> None:
        import torch

        self.device = device
        self.has_events = device.type != "cpu"
        self._flush = torch.empty(max(1, flush_bytes), dtype=torch.uint8, device=device)

    def wait(self) -> None:
        """Waits for every stream of the device."""
        import torch

        if self.has_events:
            torch.accelerator.synchronize(self.device)

    def flush(self) -> None:
        """Writes the flush buffer, without waiting."""
        self._flush.zero_()

    def elapsed(self, before: Callable[[], None], work: Callable[[], Any]) -> tuple[float, Any]:
        """Device seconds of `work` after `before`, and what it returned."""
        import torch

        if not self.has_events:
            before()
            begin = time.perf_counter()
            returned = work()
            return time.perf_counter() - begin, returned
        start, end = (torch.Event(self.device, enable_timing=True) for _ in range(2))
        self.wait()
        before()
        start.record()
        returned = work()
        end.record()
        self.wait()
        return start.elapsed_time(end) / 1e3, returned


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
        states: tuple[str, ...] = (),
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        """`call` takes `arguments` by position; all are on `device`, contiguous, and ours.

        `outputs` names what a call returned, written state too, and raises ExecutionError where it
        is not what the program promises. `inputs` are the arguments whose values `shift` rolls,
        `states` those that a call may change.
        `settle` undoes what a program may have set to keep data in the cache.
        """
        self._call, self._arguments = call, dict(arguments)
        self._outputs, self._inputs, self._settle = outputs, inputs, settle
        self._clock = TorchDevice(device, flush_bytes)
        self._first = {name: self._arguments[name].clone() for name in (*inputs, *states)}
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
        begin = time.perf_counter()
        returned = self._work()
        submitted = time.perf_counter()
        self._clock.wait()
        over = time.perf_counter()
        self._keep(returned)
        return Bracket(over - begin, submitted - begin, time.perf_counter() - over)

    def outputs(self) -> dict[str, np.ndarray]:
        """See Timer."""
        return {name: _numpy(value) for name, value in self._last.items()}

    def kernels(self) -> tuple[str, ...]:
        """See Timer; by PyTorch's profiler, where it sees the device."""
        if not self._clock.has_events:
            return ()
        from torch.profiler import ProfilerActivity, profile

        seen = {
            activity
            for activity in (getattr(ProfilerActivity, n, None) for n in ("CUDA", "XPU"))
            if activity is not None
        }
        with profile(activities=[ProfilerActivity.CPU, *seen]) as profiler:
            self._call(*self._arguments.values())
            self._clock.wait()
        names = (e.name for e in profiler.events() if e.device_type.name != "CPU")
        return tuple(dict.fromkeys(names))

    def close(self) -> None:
        """See Timer."""
        self._arguments.clear()
        self._first.clear()
        self._last.clear()

    def _work(self) -> Any:
        import torch

        with torch.no_grad():
            return self._call(*self._arguments.values())

    def _ready(self, shift: int) -> None:
        import torch

        self._last.clear()
        for name, first in self._first.items():
            values = first
            if shift and name in self._inputs:
                values = torch.roll(first.reshape(-1), shift).reshape(first.shape)
            with torch.no_grad():
                self._arguments[name].copy_(values)
        self._settle()
        self._clock.wait()

    def _keep(self, returned: Any) -> None:
        """Copies the outputs aside and poisons the memory that the next call may get for its own.

        To allocate and fill it before a call would be part of what is timed.
        """
        import torch

        named = self._outputs(returned)
        for name, value in named.items():
            if type(value) not in (torch.Tensor, torch.nn.Parameter):
                raise ExecutionError(f"{name} is a {type(value).__name__}, not a plain tensor")
        self._last = {name: value.detach().clone() for name, value in named.items()}
        self._clock.wait()
        own = {v.untyped_storage().data_ptr() for v in self._arguments.values()}
        for value in named.values():
            storage = value.untyped_storage()
            if storage.data_ptr() not in own and storage.nbytes():
                whole = torch.empty(0, dtype=torch.uint8, device=value.device)
                whole.set_(storage).fill_(_POISON)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    import torch

    host = tensor.cpu().contiguous()
    if host.dtype != torch.bfloat16:
        return np.array(host.numpy())
    import ml_dtypes

    return np.array(host.view(torch.int16).numpy()).view(ml_dtypes.bfloat16)

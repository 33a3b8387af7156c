"""Runs a program's steps on a GPU through one small runtime interface (CUDA's or HIP's)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from mkgen.codegen.backend import Arrays, Loaded
from mkgen.errors import ExecutionError, InputChangedError
from mkgen.program import GIVEN, Buffer, BufferRole, Glue, Launch, Program, Repeat, Simt

#: Buffers that no kernel may change.
_READ_ONLY = (BufferRole.INPUT, BufferRole.PARAMETER, BufferRole.CONSTANT)
_WARM_UP = 3
#: No buffer's name: beside the buffers it holds what empties the cache.
_FLUSH = ""


class GpuRuntime(ABC):
    """Memory, launches and events of one device. Pointers are integers; errors ExecutionError."""

    last_level_cache: int
    """Bytes."""

    @abstractmethod
    def allocate(self, size: int) -> int:
        """The address of `size` new bytes."""

    @abstractmethod
    def free(self, pointer: int) -> None:
        """Gives back what `allocate` returned."""

    @abstractmethod
    def upload(self, pointer: int, data: np.ndarray) -> None:
        """Copies the bytes of C-contiguous `data` to `pointer`."""

    @abstractmethod
    def download(self, pointer: int, data: np.ndarray) -> None:
        """Fills C-contiguous `data` from `pointer`."""

    @abstractmethod
    def fill(self, pointer: int, size: int) -> None:
        """Writes `size` bytes at `pointer`, without waiting."""

    @abstractmethod
    def launch(self, entry: str, configuration: Simt, pointers: list[int]) -> None:
        """Launches kernel `entry` with pointer arguments, without waiting."""

    @abstractmethod
    def synchronize(self) -> None:
        """Waits for everything launched; ExecutionError when any of it failed."""

    @abstractmethod
    def timed(self, before: Callable[[], None], work: Callable[[], None]) -> float:
        """Seconds of device time `work` takes after `before`, by events; both only launch."""

    @abstractmethod
    def close(self) -> None:
        """Unloads the module."""


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype of a `Buffer.dtype`."""
    if name == "bfloat16":
        import ml_dtypes

        brain: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return brain
    return np.dtype(name)


def poison(dtype: np.dtype[Any]) -> Any:
    """A value that shows when nobody wrote: NaN, or the lowest integer."""
    if dtype.kind == "b":
        return False
    return np.iinfo(dtype).min if dtype.kind in "iu" else np.nan


def storage(buffer: Buffer, value: np.ndarray | None) -> np.ndarray:
    """The bytes of `buffer` as one flat array: `value` laid out by strides, or its first value."""
    dtype = numpy_dtype(buffer.dtype)
    flat = np.empty(elements(buffer), dtype)
    flat.fill(poison(dtype) if buffer.initial is None else buffer.initial)
    if value is not None:
        if value.shape != buffer.shape or value.dtype != dtype:
            raise ExecutionError(
                f"{buffer.name} must be {buffer.dtype}{list(buffer.shape)}, "
                f"got {value.dtype}{list(value.shape)}"
            )
        logical(buffer, flat)[...] = value
    return flat


def elements(buffer: Buffer) -> int:
    """Elements of storage that `buffer` spans, at least one so that every pointer is real."""
    if 0 in buffer.shape:
        return 1
    return 1 + sum((n - 1) * s for n, s in zip(buffer.shape, _strides(buffer), strict=True))


def logical(buffer: Buffer, flat: np.ndarray) -> np.ndarray:
    """`flat` storage seen with the shape and strides of `buffer`."""
    steps = tuple(s * flat.itemsize for s in _strides(buffer))
    return np.lib.stride_tricks.as_strided(flat, buffer.shape, steps)


def _strides(buffer: Buffer) -> tuple[int, ...]:
    if buffer.strides is not None:
        return buffer.strides
    strides = [1]
    for extent in reversed(buffer.shape[1:]):
        strides.insert(0, strides[0] * extent)
    return tuple(strides[: len(buffer.shape)])


def refuse_steps(program: Program) -> str | None:
    """Why the steps of `program` cannot run as plain kernel launches; None when they can."""
    for step in program.steps:
        for inner in step.steps if isinstance(step, Repeat) else (step,):
            if isinstance(inner, Glue):
                return f"step {inner.op} is no kernel; a device executor launches kernels only"
            if not isinstance(inner.configuration, Simt):
                return f"{inner.entry} is not launched over a grid of thread blocks"
    return None


class GpuLoaded(Loaded):
    """A program whose module `runtime` holds."""

    def __init__(self, program: Program, runtime: GpuRuntime) -> None:
        """`runtime` has the module of `program` loaded."""
        self._program = program
        self._runtime = runtime
        self._kept: dict[str, int] = {}
        """Device addresses that runs use one after another, by buffer name."""

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """See Loaded.run."""
        try:
            self._place(self._kept, inputs)
            bound = self._bind(self._kept)
            self._execute(bound, "prepare")
            self._execute(bound, "run")
            self._runtime.synchronize()
            self._check_unchanged(inputs)
            return self._read(bound)
        except BaseException as error:
            # After a fault a device refuses every call, frees included; the first error tells.
            try:
                self.rest()
            except ExecutionError as refused:
                error.add_note(f"then, {refused}")
            raise

    def rest(self) -> None:
        """Frees the buffers that runs use one after another."""
        kept, self._kept = self._kept, {}
        self._release(kept)

    def time(self, inputs: Arrays, samples: int) -> list[float]:
        """See Loaded.time. Each sample starts with a last-level cache full of other data."""
        flush_bytes = self.flush_bytes(self._runtime.last_level_cache)
        with self._placed(inputs) as memory:
            flush = memory[_FLUSH] = self._runtime.allocate(flush_bytes)

            def cold() -> None:
                # Also keeps the device busy while the host queues the launches, so that the
                # events enclose kernels and not the host's own time.
                self._runtime.fill(flush, flush_bytes)

            def work() -> None:
                self._execute(self._bind(memory), "run")

            self._execute(self._bind(memory), "prepare")
            for _ in range(_WARM_UP):
                work()
            self._runtime.synchronize()
            return [self._runtime.timed(cold, work) for _ in range(samples)]

    def close(self) -> None:
        """Frees the buffers and unloads the module."""
        try:
            self.rest()
        finally:
            self._runtime.close()

    @contextmanager
    def _placed(self, inputs: Arrays) -> Iterator[dict[str, int]]:
        """Device addresses by buffer name, every buffer filled; freed at the end."""
        memory: dict[str, int] = {}
        try:
            self._place(memory, inputs)
            yield memory
        except BaseException as error:
            # After a fault a device refuses every call, frees included; the first error tells.
            try:
                self._release(memory)
            except ExecutionError as refused:
                error.add_note(f"then, {refused}")
            raise
        self._release(memory)

    def _place(self, memory: dict[str, int], inputs: Arrays) -> None:
        """Fills every buffer; those that `memory` has no address of are allocated."""
        for buffer in self._program.buffers:
            if buffer.alias is None:
                flat = storage(buffer, self._given(buffer, inputs))
                if buffer.name not in memory:
                    memory[buffer.name] = self._runtime.allocate(flat.nbytes)
                self._runtime.upload(memory[buffer.name], flat)

    def _check_unchanged(self, inputs: Arrays) -> None:
        """InputChangedError when a buffer that may only be read holds other bytes than given."""
        shared = {b.alias for b in self._program.buffers if b.alias is not None}
        for buffer in self._program.with_role(*_READ_ONLY):
            if buffer.alias is not None or buffer.name in shared:
                continue
            before = storage(buffer, self._given(buffer, inputs))
            after = np.empty_like(before)
            self._runtime.download(self._kept[buffer.name], after)
            if before.tobytes() != after.tobytes():
                raise InputChangedError(
                    f"the program changed buffer {buffer.name!r}, whose role is {buffer.role.value}"
                )

    def _given(self, buffer: Buffer, inputs: Arrays) -> np.ndarray | None:
        value = inputs.get(buffer.name)
        if value is None and buffer.role in GIVEN and buffer.initial is None:
            raise ExecutionError(f"no value was given for {buffer.role} {buffer.name!r}")
        return value

    def _release(self, memory: dict[str, int]) -> None:
        for pointer in memory.values():
            self._runtime.free(pointer)

    def _bind(self, memory: dict[str, int]) -> dict[str, int]:
        """The address of every buffer, aliases resolved."""
        bound: dict[str, int] = {}
        for buffer in self._program.buffers:
            owner = buffer
            while owner.alias is not None:
                owner = self._program.buffer(owner.alias)
            bound[buffer.name] = memory[owner.name]
        return bound

    def _execute(self, bound: dict[str, int], phase: Literal["prepare", "run"]) -> None:
        """Launches the steps of `phase`; `bound` is changed by the swaps of a Repeat."""
        for step in self._program.steps:
            if isinstance(step, Repeat):
                if phase == "run":
                    self._repeat(step, bound)
            elif isinstance(step, Launch) and step.phase == phase:
                self._launch(step, bound)

    def _repeat(self, step: Repeat, bound: dict[str, int]) -> None:
        """Swaps outlast the loop, so that a name keeps its newest value; advances do not."""
        stride, start = self._in_bytes(step.advance), self._in_bytes(step.start)
        for turn in range(step.count):
            seen = {
                name: at + start.get(name, 0) + turn * stride.get(name, 0)
                for name, at in bound.items()
            }
            for inner in step.steps:
                if isinstance(inner, Launch):
                    self._launch(inner, seen)
            for first, second in step.swaps:
                bound[first], bound[second] = bound[second], bound[first]

    def _in_bytes(self, elements: Mapping[str, int]) -> dict[str, int]:
        return {
            name: count * numpy_dtype(self._program.buffer(name).dtype).itemsize
            for name, count in elements.items()
        }

    def _launch(self, step: Launch, bound: dict[str, int]) -> None:
        if not isinstance(step.configuration, Simt):
            raise ExecutionError(f"{step.entry} is not launched over a grid of thread blocks")
        self._runtime.launch(step.entry, step.configuration, [bound[name] for name in step.args])

    def _read(self, bound: dict[str, int]) -> dict[str, np.ndarray]:
        written = {name for launch in self._program.launches for name in launch.writes}
        results: dict[str, np.ndarray] = {}
        for buffer in self._program.buffers:
            is_state = buffer.role is BufferRole.STATE and buffer.name in written
            if buffer.role is BufferRole.OUTPUT or is_state:
                flat = np.empty(elements(buffer), numpy_dtype(buffer.dtype))
                self._runtime.download(bound[buffer.name], flat)
                results[buffer.name] = logical(buffer, flat).copy()
        return results

"""Runs a program's steps on a GPU through one small runtime interface (CUDA's or HIP's)."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import numpy as np

from mkgen.codegen.backend import Arrays, Loaded
from mkgen.codegen.timer import WARM_UPS, Bracket, Timer, changed, copy_seconds, fills_for, rolling
from mkgen.errors import ExecutionError, InputChangedError
from mkgen.fence import FENCED, REACH
from mkgen.program import GIVEN, Buffer, BufferRole, Glue, Launch, Program, Repeat, Simt
from mkgen_simt.zones import Fenced, Fences, Room, Zones

#: Buffers that no kernel may change.
_READ_ONLY = (BufferRole.INPUT, BufferRole.PARAMETER, BufferRole.CONSTANT)
#: No buffer's name: beside the buffers it holds what empties the cache.
_FLUSH = ""
_POISON = 0xFF  # a NaN of every floating dtype when every byte of it is this


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

    def fenced(self, size: int, alignment: int) -> Fenced:
        """`size` new bytes in front of addresses that fault. ExecutionError where none can be."""
        raise ExecutionError(f"{type(self).__name__} has no memory at a fence")

    @abstractmethod
    def upload(self, pointer: int, data: np.ndarray) -> None:
        """Copies the bytes of C-contiguous `data` to `pointer`."""

    @abstractmethod
    def download(self, pointer: int, data: np.ndarray) -> None:
        """Fills C-contiguous `data` from `pointer`."""

    @abstractmethod
    def fill(self, pointer: int, size: int, byte: int = 0) -> None:
        """Writes `size` times `byte` at `pointer`, without waiting."""

    @abstractmethod
    def copy(self, pointer: int, source: int, size: int) -> None:
        """Copies `size` bytes from `source`, on the device too, without waiting."""

    @abstractmethod
    def launch(self, entry: str, configuration: Simt, pointers: list[int]) -> None:
        """Launches kernel `entry` with pointer arguments, without waiting."""

    @abstractmethod
    def synchronize(self) -> None:
        """Waits for everything launched; ExecutionError when any of it failed."""

    @abstractmethod
    def wait_for_device(self) -> None:
        """As `synchronize`, for every stream of the device."""

    def settle(self) -> None:  # noqa: B027  (most have nothing to undo)
        """Undoes what a program may have set to keep data in the cache."""

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

    def __init__(self, program: Program, runtime: GpuRuntime, reach: int = REACH) -> None:
        """`runtime` has the module of `program` loaded; `reach` as for Zones."""
        self.program = program
        self.runtime = runtime
        self._rooms: dict[str, Room] = {"": Zones(runtime, reach), FENCED: Fences(runtime)}
        self._kept: dict[str, dict[str, int]] = {schedule: {} for schedule in self._rooms}
        """Device addresses that runs of a schedule use one after another, by buffer name."""

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """See Loaded.run."""
        if schedule not in self._rooms:
            raise ExecutionError(f"no schedule {schedule!r} on a device")
        room, kept = self._rooms[schedule], self._kept[schedule]
        try:
            self._place(kept, inputs, room.allocate)
            bound = self.bind(kept)
            self.execute(bound, "prepare")
            self.execute(bound, "run")
            self.runtime.synchronize()
            room.check()
            self._check_unchanged(inputs, kept)
            return self.read(bound)
        except BaseException as error:
            # After a fault a device refuses every call, frees included; the first error tells.
            try:
                self.rest()
            except ExecutionError as refused:
                error.add_note(f"then, {refused}")
            raise

    def rest(self) -> None:
        """Frees the buffers that runs use one after another."""
        for schedule, room in self._rooms.items():
            kept, self._kept[schedule] = self._kept[schedule], {}
            for address in kept.values():
                room.free(address)

    def timer(self, inputs: Arrays, flush_bytes: int = 0, *, rolls: bool = False) -> Timer:
        """See Loaded.timer."""
        size = flush_bytes or self.flush_bytes(self.runtime.last_level_cache)
        return GpuTimer(self, inputs, size, rolling(self.program) if rolls else ())

    def close(self) -> None:
        """Frees the buffers and unloads the module."""
        try:
            self.rest()
        finally:
            self.runtime.close()

    @contextmanager
    def placed(self, inputs: Arrays) -> Iterator[dict[str, int]]:
        """Device addresses by buffer name, every buffer filled; freed at the end.

        There are no guard zones: what is timed lies in memory as a caller's buffers do.
        """
        memory: dict[str, int] = {}
        try:
            self._place(memory, inputs, lambda _, size: self.runtime.allocate(size))
            yield memory
        except BaseException as error:
            # After a fault a device refuses every call, frees included; the first error tells.
            try:
                self._release(memory)
            except ExecutionError as refused:
                error.add_note(f"then, {refused}")
            raise
        self._release(memory)

    def _place(
        self, memory: dict[str, int], inputs: Arrays, allocate: Callable[[Buffer, int], int]
    ) -> None:
        """Fills every buffer; those that `memory` has no address of are allocated."""
        for buffer in self.program.buffers:
            if buffer.alias is None:
                flat = storage(buffer, self._given(buffer, inputs))
                if buffer.name not in memory:
                    memory[buffer.name] = allocate(buffer, flat.nbytes)
                self.runtime.upload(memory[buffer.name], flat)

    def _check_unchanged(self, inputs: Arrays, places: Mapping[str, int]) -> None:
        """InputChangedError when a buffer that may only be read holds other bytes than given."""
        shared = {b.alias for b in self.program.buffers if b.alias is not None}
        for buffer in self.program.with_role(*_READ_ONLY):
            if buffer.alias is not None or buffer.name in shared:
                continue
            before = storage(buffer, self._given(buffer, inputs))
            after = np.empty_like(before)
            self.runtime.download(places[buffer.name], after)
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
            self.runtime.free(pointer)

    def bind(self, memory: dict[str, int]) -> dict[str, int]:
        """The address of every buffer, aliases resolved."""
        return {buffer.name: memory[self.owner(buffer)] for buffer in self.program.buffers}

    def owner(self, buffer: Buffer) -> str:
        """The name of the buffer whose storage `buffer` uses."""
        while buffer.alias is not None:
            buffer = self.program.buffer(buffer.alias)
        return buffer.name

    def execute(self, bound: dict[str, int], phase: Literal["prepare", "run"]) -> None:
        """Launches the steps of `phase`; `bound` is changed by the swaps of a Repeat."""
        for step in self.program.steps:
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
            name: count * numpy_dtype(self.program.buffer(name).dtype).itemsize
            for name, count in elements.items()
        }

    def _launch(self, step: Launch, bound: dict[str, int]) -> None:
        if not isinstance(step.configuration, Simt):
            raise ExecutionError(f"{step.entry} is not launched over a grid of thread blocks")
        self.runtime.launch(step.entry, step.configuration, [bound[name] for name in step.args])

    def results(self) -> tuple[Buffer, ...]:
        """Outputs, and the states that a kernel writes."""
        written = {name for launch in self.program.launches for name in launch.writes}
        return tuple(
            buffer
            for buffer in self.program.buffers
            if buffer.role is BufferRole.OUTPUT
            or (buffer.role is BufferRole.STATE and buffer.name in written)
        )

    def read(self, places: Mapping[str, int]) -> dict[str, np.ndarray]:
        """The results, from their addresses by buffer name."""
        found: dict[str, np.ndarray] = {}
        for buffer in self.results():
            flat = np.empty(elements(buffer), numpy_dtype(buffer.dtype))
            self.runtime.download(places[buffer.name], flat)
            found[buffer.name] = logical(buffer, flat).copy()
        return found


class GpuTimer(Timer):
    """See Timer."""

    def __init__(
        self, loaded: GpuLoaded, inputs: Arrays, flush_bytes: int, rolls: tuple[str, ...]
    ) -> None:
        """Fills the device with `inputs`, and with a copy of what every call must find anew."""
        self._loaded, self._runtime, self._flush_bytes = loaded, loaded.runtime, flush_bytes
        self._stack = ExitStack()
        self._memory = self._stack.enter_context(loaded.placed(inputs))
        self._sizes = {b.name: storage_bytes(b) for b in loaded.program.buffers}
        with self._stack_on_failure():
            self._memory[_FLUSH] = self._runtime.allocate(flush_bytes)
            # no name of a buffer has a blank in it
            self._fresh = self._copies("first ", self._renewed())
            self._aside = self._copies("last ", [b.name for b in loaded.results()])
            self._rolling = self._copies("first ", rolls)
            for name, place in {**self._fresh, **self._rolling}.items():
                self._runtime.copy(place, self._memory[name], self._sizes[name])
            loaded.execute(loaded.bind(self._memory), "prepare")
            self._runtime.wait_for_device()
        self._fills = 1

    def warm(self, calls: int = WARM_UPS) -> None:
        """Also finds how long the host takes to queue a call, to be ahead of the device."""
        super().warm(calls)
        fill = self._runtime.timed(lambda: None, self._flush)
        self._fills = fills_for(self.bracketed().submit, fill)

    def queued(self, shift: int = 0) -> float:
        """See Timer."""
        self._ready(shift)
        bound = self._loaded.bind(self._memory)

        def cold() -> None:
            for _ in range(self._fills):
                self._flush()

        seconds = self._runtime.timed(cold, lambda: self._loaded.execute(bound, "run"))
        self._runtime.wait_for_device()
        self._keep(bound)
        return seconds

    def bracketed(self, shift: int = 0) -> Bracket:
        """See Timer."""
        self._ready(shift)
        bound = self._loaded.bind(self._memory)
        self._flush()
        self._runtime.wait_for_device()
        begin = time.perf_counter()
        self._loaded.execute(bound, "run")
        submitted = time.perf_counter()
        self._runtime.wait_for_device()
        over = time.perf_counter()
        self._keep(bound)
        return Bracket(over - begin, submitted - begin, time.perf_counter() - over)

    def outputs(self) -> dict[str, np.ndarray]:
        """See Timer."""
        return self._loaded.read(self._aside)

    def kernels(self) -> tuple[str, ...]:
        """See Timer: nothing else is launched."""
        return tuple(step.entry for step in self._loaded.program.launches)

    def close(self) -> None:
        """See Timer."""
        self._stack.close()

    @contextmanager
    def _stack_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._stack.close()
            raise

    def _renewed(self) -> list[str]:
        """Buffers that a call finds as they were before the first one."""
        program = self._loaded.program
        written = {self._loaded.owner(program.buffer(name)) for name in changed(program)}
        return [
            b.name
            for b in program.buffers
            if b.alias is None
            and b.name in written
            and (b.role is BufferRole.STATE or b.initial is not None)
        ]

    def _copies(self, prefix: str, names: Iterable[str]) -> dict[str, int]:
        places = {}
        for name in names:
            if prefix + name not in self._memory:
                self._memory[prefix + name] = self._runtime.allocate(self._sizes[name])
            places[name] = self._memory[prefix + name]
        return places

    def _flush(self) -> None:
        self._runtime.fill(self._memory[_FLUSH], self._flush_bytes)

    def _ready(self, shift: int) -> None:
        bound = self._loaded.bind(self._memory)
        for buffer in self._loaded.results():
            if buffer.role is BufferRole.OUTPUT:
                self._runtime.fill(bound[buffer.name], self._sizes[buffer.name], _POISON)
        for name, first in self._fresh.items():
            self._runtime.copy(bound[name], first, self._sizes[name])
        for name, first in self._rolling.items():
            size = self._sizes[name]
            item = numpy_dtype(self._loaded.program.buffer(name).dtype).itemsize
            cut = size - shift * item % size
            self._runtime.copy(bound[name], first + cut % size, size - cut % size)
            if cut % size:
                self._runtime.copy(bound[name] + size - cut, first, cut)
        self._runtime.settle()
        self._runtime.wait_for_device()

    def _keep(self, bound: Mapping[str, int]) -> None:
        for name, place in self._aside.items():
            self._runtime.copy(place, bound[name], self._sizes[name])
        self._runtime.wait_for_device()


def storage_bytes(buffer: Buffer) -> int:
    """Bytes of storage that `buffer` spans."""
    return elements(buffer) * numpy_dtype(buffer.dtype).itemsize


def probe_copies(runtime: GpuRuntime, size: int, flush_bytes: int, repeats: int) -> list[float]:
    """See Executor.probe_copies; `runtime` needs no module."""
    source, target = runtime.allocate(size), runtime.allocate(size)
    flush = runtime.allocate(max(1, flush_bytes))
    try:
        for place in (source, target):
            runtime.fill(place, size, 1)
        return copy_seconds(
            lambda: runtime.timed(lambda: None, lambda: runtime.copy(target, source, size)),
            (lambda: runtime.fill(flush, flush_bytes)) if flush_bytes else None,
            repeats,
        )
    finally:
        for place in (source, target, flush):
            runtime.free(place)

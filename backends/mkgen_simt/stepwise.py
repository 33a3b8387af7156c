"""Runs a program's steps on a device: guarded, poisoned buffers, launches, layout steps, time."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mkgen.codegen.backend import Arrays, Loaded
from mkgen.codegen.timer import Bracket, Timer, changed, copy_seconds, rolled, rolling
from mkgen.errors import ExecutionError, InputChangedError
from mkgen.fence import REACH
from mkgen.program import Buffer, BufferRole, Glue, Launch, Program, Repeat
from mkgen_simt.memory import guard_pattern

Bytes = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]

#: Bytes before and behind every buffer that no kernel may write: a store that leaves a buffer by
#: rows or tiles must not get past them. A multiple of every alignment, which the data behind the
#: first zone keeps.
GUARD = REACH
#: Of blocks.
ALIGNMENT = 4096
# Between the end of a buffer and its guard there is nothing; a byte that is a NaN in any case.
_SLACK = 0xFF


class Device(ABC):
    """The memory and the queue of one device; what a backend's runtime must offer to run steps."""

    @abstractmethod
    def allocate(self, image: Bytes) -> Any:
        """A block of device memory, aligned to ALIGNMENT, that holds `image`."""

    @abstractmethod
    def read(self, block: Any) -> Bytes:
        """The bytes of `block`."""

    @abstractmethod
    def write(self, block: Any, image: Bytes) -> None:
        """Makes `image` the bytes of `block`."""

    @abstractmethod
    def release(self, block: Any) -> None:
        """Frees `block`."""

    @abstractmethod
    def launch(self, launch: Launch, args: list[tuple[Any, int]]) -> Any:
        """Enqueues a kernel on (block, byte offset) arguments; returns its event."""

    @abstractmethod
    def finish(self) -> None:
        """Waits until all launches have ended."""

    def cache_bytes(self) -> int:
        """The last-level cache as the driver reports it; 0 where it does not."""
        return 0

    def flush_cache(self, size: int) -> None:
        """Evicts the last-level cache by writing `size` bytes of other memory."""
        raise ExecutionError("this device has no timed queue")

    def copy(self, block: Any, source: Any) -> Any:
        """Enqueues a copy of block `source` to `block`, as large; returns its event."""
        raise ExecutionError("this device has no timed queue")

    def elapsed(self, first: Any, last: Any) -> float:
        """Seconds from the start of event `first` to the end of event `last`."""
        raise ExecutionError("this device has no timed queue")


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype of a buffer's dtype."""
    if name == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(name)


def poison(dtype: np.dtype[Any]) -> Any:
    """What a buffer nobody has written holds: NaN, or an integer far from a plausible result.

    Unsigned and bool take their largest value: the lowest, 0, is the commonest right answer.
    """
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return info.min if dtype.kind == "i" else info.max
    return True if dtype.kind == "b" else math.nan


def storage_bytes(buffer: Buffer) -> int:
    """Bytes from the first to behind the last element of `buffer`."""
    if math.prod(buffer.shape) == 0:
        return 0
    strides = buffer.strides or _contiguous(buffer.shape)
    last = sum((n - 1) * s for n, s in zip(buffer.shape, strides, strict=True))
    return (last + 1) * numpy_dtype(buffer.dtype).itemsize


def view(buffer: Buffer, data: Bytes) -> Array:
    """The elements of `buffer` in its storage `data`, as a writable view in its shape."""
    dtype = numpy_dtype(buffer.dtype)
    flat = data[: storage_bytes(buffer)].view(dtype)
    if flat.size == 0:
        return flat.reshape(buffer.shape)
    strides = tuple(s * dtype.itemsize for s in buffer.strides or _contiguous(buffer.shape))
    return np.lib.stride_tricks.as_strided(flat, buffer.shape, strides)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def apply_glue(step: Glue, source: Array) -> Array:
    """The result of a layout step on `source`."""
    a: dict[str, Any] = dict(step.attributes)
    operations: dict[str, Callable[[], Array]] = {
        "pad": lambda: np.pad(
            source,
            list(zip(a["low"], a["high"], strict=True)),
            constant_values=np.asarray(a.get("value", 0.0)).astype(source.dtype),
        ),
        "permute": lambda: source.transpose(a["order"]),
        "reshape": lambda: source.reshape(a["shape"]),
        "slice": lambda: source[
            tuple(slice(i, j) for i, j in zip(a["start"], a["stop"], strict=True))
        ],
        "cast": lambda: source.astype(numpy_dtype(a["dtype"])),
        "tile": lambda: np.tile(source, a["repeats"]),
    }
    return operations[step.op]()


@dataclass
class _Storage:
    """One allocation: the buffers that share it, and what it held before the run."""

    block: Any
    image: Bytes
    buffers: list[Buffer]

    @property
    def data(self) -> Bytes:
        return self.image[GUARD:-GUARD]


class StepRunner(Loaded):
    """A program whose kernels `device` has loaded; runs its steps one after another.

    Every buffer lies between guard zones. After a run they must be whole, and every input that is
    not a state must be as it was. `swaps` of a Repeat hold for the steps after it too (as swapped
    pointers do in a launcher), while results are read from the storage a buffer began with.
    """

    def __init__(self, program: Program, device: Device) -> None:
        """Runs `program` with the kernels that `device` holds."""
        self.program = program
        self.device = device
        self._kept: dict[str, _Storage] | None = None

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """Runs every step once; see Loaded.run. `schedule` is ignored: there is one only."""
        memory = self._refilled(inputs)
        try:
            for _ in self.walk(memory, ("prepare", "run")):
                pass
            self.device.finish()
            return self.results(memory, set(inputs))
        except BaseException:
            self.rest()  # whatever went wrong must not meet the next run
            raise

    def rest(self) -> None:
        """Frees the buffers that runs use one after another."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            self.release(kept)

    def close(self) -> None:
        """Frees the buffers."""
        self.rest()

    def _refilled(self, inputs: Arrays) -> dict[str, _Storage]:
        """The buffers of the last run with fresh contents: other values at the same addresses."""
        if self._kept is None:
            self._kept = self.allocate(inputs)
            return self._kept
        for storage in {id(s): s for s in self._kept.values()}.values():
            storage.image = self.image(storage.buffers, inputs)
            self.device.write(storage.block, storage.image)
        return self._kept

    def timer(self, inputs: Arrays, flush_bytes: int = 0, *, rolls: bool = False) -> Timer:
        """See Loaded.timer. ExecutionError for a program whose steps are not all launches."""
        if any(isinstance(s, Glue) for s in self.inner_steps()):
            raise ExecutionError(
                "the program has layout steps, which run on the host here: no time would be the "
                "program's own; time its kernels one by one"
            )
        size = flush_bytes or self.flush_bytes(self.device.cache_bytes())
        return StepTimer(self, inputs, size, rolling(self.program) if rolls else ())

    def inner_steps(self) -> Iterator[Launch | Glue]:
        """Every step, those of a Repeat once."""
        for step in self.program.steps:
            yield from step.steps if isinstance(step, Repeat) else (step,)

    def _root(self, buffer: Buffer) -> str:
        while buffer.alias is not None:
            buffer = self.program.buffer(buffer.alias)
        return buffer.name

    def allocate(self, inputs: Arrays) -> dict[str, _Storage]:
        """Device memory by buffer name, filled."""
        groups: dict[str, list[Buffer]] = {}
        for buffer in self.program.buffers:
            groups.setdefault(self._root(buffer), []).append(buffer)
        memory: dict[str, _Storage] = {}
        try:
            for group in groups.values():
                image = self.image(group, inputs)
                storage = _Storage(self.device.allocate(image), image, group)
                memory.update((buffer.name, storage) for buffer in group)
        except BaseException:
            self.release(memory)
            raise
        return memory

    def image(self, group: list[Buffer], inputs: Arrays) -> Bytes:
        """What the storage of `group` holds before the first step, guard zones included."""
        size = max(storage_bytes(buffer) for buffer in group)
        image = np.full(size + 2 * GUARD, _SLACK, dtype=np.uint8)
        image[:GUARD] = image[-GUARD:] = guard_pattern(group[0], GUARD)
        data = image[GUARD:-GUARD]
        # A group's own name comes first; an alias fills it only when the root has no data.
        given = [b for b in group if b.name in inputs]
        if given:
            array = inputs[given[0].name]
            target = view(given[0], data)
            if array.shape != target.shape or array.dtype != target.dtype:
                raise ExecutionError(
                    f"buffer {given[0].name!r} is {target.dtype}{list(target.shape)}, but the "
                    f"input is {array.dtype}{list(array.shape)}"
                )
            target[...] = array
            return image
        first = group[0]
        initial = next((b.initial for b in group if b.initial is not None), None)
        free = (BufferRole.OUTPUT, BufferRole.TEMPORARY, BufferRole.PACKED)
        if initial is None and first.role not in free:
            raise ExecutionError(f"no array for the {first.role.value} buffer {first.name!r}")
        dtype = numpy_dtype(first.dtype)
        elements = data[: size // dtype.itemsize * dtype.itemsize].view(dtype)
        elements[...] = poison(dtype) if initial is None else initial
        return image

    def walk(self, memory: dict[str, _Storage], phases: tuple[str, ...]) -> Iterator[Any]:
        """Enqueues every launch of `phases` in order and yields its event."""
        place = {name: (storage, 0) for name, storage in memory.items()}
        for step in self.program.steps:
            if not isinstance(step, Repeat):
                yield from self._step(step, place, phases)
                continue
            self._move(step.start, place)
            for _ in range(step.count):
                for inner in step.steps:
                    yield from self._step(inner, place, phases)
                for a, b in step.swaps:
                    place[a], place[b] = place[b], place[a]
                self._move(step.advance, place)
            for name in (*step.start, *step.advance):
                place[name] = (place[name][0], 0)

    def _move(self, elements: Mapping[str, int], place: dict[str, tuple[_Storage, int]]) -> None:
        for name, count in elements.items():
            storage, offset = place[name]
            size = numpy_dtype(self.program.buffer(name).dtype).itemsize
            place[name] = (storage, offset + count * size)

    def _step(
        self, step: Launch | Glue, place: dict[str, tuple[_Storage, int]], phases: tuple[str, ...]
    ) -> Iterator[Any]:
        if isinstance(step, Glue):
            self._glue(step, place)
        elif step.phase in phases:
            args = [(place[a][0].block, GUARD + place[a][1]) for a in step.args]
            yield self.device.launch(step, args)

    def _glue(self, step: Glue, place: dict[str, tuple[_Storage, int]]) -> None:
        self.device.finish()
        source, at = place[step.input]
        target, to = place[step.output]
        read = self.device.read(source.block)[GUARD + at : -GUARD]
        written = self.device.read(target.block)
        result = view(self.program.buffer(step.output), written[GUARD + to : -GUARD])
        result[...] = apply_glue(step, view(self.program.buffer(step.input), read))
        self.device.write(target.block, written)

    def results(self, memory: dict[str, _Storage], given: set[str]) -> dict[str, np.ndarray]:
        """Outputs and states; InputChangedError, ExecutionError where what must not change has."""
        written = {name for launch in self.program.launches for name in launch.writes}
        written |= {s.output for s in self.inner_steps() if isinstance(s, Glue)}
        results: dict[str, np.ndarray] = {}
        for storage in {id(s): s for s in memory.values()}.values():
            after = self.device.read(storage.block)
            names = " / ".join(repr(b.name) for b in storage.buffers)
            _check_guards(after, guard_pattern(storage.buffers[0], GUARD), names)
            # Storage shared on purpose with a written buffer may change; nothing else may.
            shared = any(b.name in written and b.name not in given for b in storage.buffers)
            fixed = all(b.role is not BufferRole.STATE for b in storage.buffers)
            inside = after[GUARD:-GUARD]
            if any(b.name in given for b in storage.buffers) and fixed and not shared:
                changed = np.flatnonzero(inside != storage.data)
                if changed.size:
                    raise InputChangedError(
                        f"the program changed its input {names}: first at byte {changed[0]}"
                    )
            for buffer in storage.buffers:
                if buffer.role in (BufferRole.OUTPUT, BufferRole.STATE):
                    results[buffer.name] = np.array(view(buffer, inside), order="C")
        return results

    def release(self, memory: dict[str, _Storage]) -> None:
        """Frees what `allocate` gave."""
        for storage in {id(s): s for s in memory.values()}.values():
            self.device.release(storage.block)


class StepTimer(Timer):
    """See Timer. Guard zones and inputs are looked at whenever outputs are asked for."""

    def __init__(
        self, runner: StepRunner, inputs: Arrays, flush_bytes: int, rolls: tuple[str, ...]
    ) -> None:
        self._runner, self._device, self._flush_bytes = runner, runner.device, flush_bytes
        self._given, self._rolls = dict(inputs), rolls
        self._memory = runner.allocate(inputs)
        self._own: list[Any] = []
        written = changed(runner.program)
        self._changing: list[tuple[_Storage, Any, Any]] = []
        try:
            for storage in {id(s): s for s in self._memory.values()}.values():
                names = {b.name for b in storage.buffers}
                if not names & written and all(
                    b.role is not BufferRole.OUTPUT for b in storage.buffers
                ):
                    continue
                blocks = [self._device.allocate(storage.image) for _ in range(2)]
                self._own += blocks
                self._changing.append((storage, blocks[0], blocks[1]))
            for _ in runner.walk(self._memory, ("prepare",)):
                pass
            self._device.finish()
        except BaseException:
            self.close()
            raise

    def queued(self, shift: int = 0) -> float:
        """See Timer: from the start of the first kernel to the end of the last."""
        self._ready(shift)
        events = self._walk()
        self._device.finish()
        self._keep()
        return self._device.elapsed(events[0], events[-1])

    def bracketed(self, shift: int = 0) -> Bracket:
        """See Timer."""
        self._ready(shift)
        begin = time.perf_counter()
        self._walk()
        submitted = time.perf_counter()
        self._device.finish()
        over = time.perf_counter()
        self._keep()
        return Bracket(over - begin, submitted - begin, time.perf_counter() - over)

    def outputs(self) -> dict[str, np.ndarray]:
        """See Timer. InputChangedError, ExecutionError as from `run`."""
        kept = {id(s): _Storage(aside, s.image, s.buffers) for s, _, aside in self._changing}
        seen = {name: kept.get(id(s), s) for name, s in self._memory.items()}
        return self._runner.results(seen, set(self._given))

    def kernels(self) -> tuple[str, ...]:
        """See Timer: nothing else is launched."""
        return tuple(launch.entry for launch in self._runner.program.launches)

    def close(self) -> None:
        """See Timer."""
        for block in self._own:
            self._device.release(block)
        self._own = []
        self._runner.release(self._memory)
        self._memory = {}

    def _walk(self) -> list[Any]:
        return list(self._runner.walk(self._memory, ("run",)))

    def _ready(self, shift: int) -> None:
        for storage, first, _ in self._changing:
            self._device.copy(storage.block, first)
        if self._rolls:
            inputs = rolled(self._given, self._rolls, shift)
            for name in self._rolls:
                storage = self._memory[name]
                storage.image = self._runner.image(storage.buffers, inputs)
                self._device.write(storage.block, storage.image)
        self._device.finish()
        self._device.flush_cache(self._flush_bytes)
        self._device.finish()

    def _keep(self) -> None:
        for storage, _, aside in self._changing:
            self._device.copy(aside, storage.block)
        self._device.finish()


def probe_copies(device: Device, size: int, flush_bytes: int, repeats: int) -> list[float]:
    """See Executor.probe_copies; `device` needs no kernels."""
    image = np.ones(size, dtype=np.uint8)
    blocks = [device.allocate(image) for _ in range(2)]

    def copy() -> float:
        event = device.copy(*blocks)
        device.finish()
        return device.elapsed(event, event)

    def flush() -> None:
        device.flush_cache(flush_bytes)
        device.finish()

    try:
        return copy_seconds(copy, flush if flush_bytes else None, repeats)
    finally:
        for block in blocks:
            device.release(block)


def _check_guards(after: Bytes, pattern: Bytes, names: str) -> None:
    before = np.flatnonzero(after[:GUARD] != pattern)
    if before.size:
        raise ExecutionError(
            f"a kernel wrote out of bounds: {GUARD - int(before[0])} bytes before buffer {names}"
        )
    behind = np.flatnonzero(after[-GUARD:] != pattern)
    if behind.size:
        raise ExecutionError(
            f"a kernel wrote out of bounds: {int(behind[0])} bytes behind the end of buffer {names}"
        )

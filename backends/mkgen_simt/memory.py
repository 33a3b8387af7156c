"""Buffers for a run on the host: guarded, poisoned, aligned to no more than was promised."""

from __future__ import annotations

from math import prod
from zlib import crc32

import numpy as np

from mkgen.codegen.backend import Arrays
from mkgen.errors import ExecutionError, InputChangedError
from mkgen.fence import fenced_bytes, guard_word
from mkgen.program import GIVEN, Buffer, BufferRole, Program

GUARD = 4096
"""Bytes on each side of a buffer."""

READ_ONLY = frozenset({BufferRole.INPUT, BufferRole.PARAMETER, BufferRole.CONSTANT})
RETURNED = frozenset({BufferRole.OUTPUT, BufferRole.STATE})

#: What an unwritten element of a type without NaN or a lowest value of its own reads as: 0 would
#: be right by accident too often, so unsigned bytes get 0xA5.
_POISON_BYTE = 0xA5


def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype of a `Buffer.dtype`."""
    if name == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(name)


def guard_pattern(buffer: Buffer, size: int = GUARD) -> np.ndarray:
    """`size` bytes, a multiple of 8, to put on each side of `buffer`, uint8.

    Given, temporary and returned buffers have different words always, two of a kind mostly.
    """
    kind = 0 if buffer.role in READ_ONLY else 1 if buffer.role in RETURNED else 2
    word = guard_word(buffer.dtype, kind | crc32(buffer.name.encode()) % 8 << 2)
    return np.frombuffer(word * (size // len(word)), np.uint8)


def overwritten(zone: np.ndarray, pattern: np.ndarray, where: str, name: str) -> str:
    """What was written into the guard zone `where` ("before", "after") the buffer `name`; or ""."""
    if np.array_equal(zone, pattern):
        return ""
    wrong = np.flatnonzero(zone != pattern)
    first = zone.size - int(wrong[-1]) if where == "before" else int(wrong[0])
    return (
        f"out-of-bounds write: {wrong.size} bytes {where} buffer {name!r} were overwritten, the "
        f"nearest {first} bytes from it"
    )


def _strides(buffer: Buffer) -> tuple[int, ...]:
    if buffer.strides is not None:
        return buffer.strides
    return tuple(prod(buffer.shape[i + 1 :]) for i in range(len(buffer.shape)))


def _span(buffer: Buffer) -> int:
    """Elements from the first to the last, both included."""
    if 0 in buffer.shape:
        return 0
    pairs = zip(buffer.shape, _strides(buffer), strict=True)
    return 1 + sum((extent - 1) * stride for extent, stride in pairs)


class Block:
    """The storage of one buffer, between two guard zones."""

    def __init__(self, buffer: Buffer, fenced: bool = False) -> None:
        """Storage for `buffer`, its contents undefined; `fenced`: with pages that fault instead
        of guard zones, which shows reads that change no result.
        """
        self.buffer = buffer
        self.dtype = numpy_dtype(buffer.dtype)
        size = _span(buffer) * self.dtype.itemsize
        align = max(buffer.alignment, self.dtype.itemsize)
        self._guards: tuple[np.ndarray, ...] = ()
        self._pattern = guard_pattern(buffer)
        if fenced:
            self.bytes = fenced_bytes(size, align)
        else:
            raw = np.empty(2 * GUARD + size + 2 * align, np.uint8)
            base = raw.ctypes.data + GUARD
            # An odd multiple: a kernel that assumes more alignment than is promised faults.
            start = GUARD + (align - base % (2 * align)) % (2 * align)
            self.bytes = raw[start : start + size]
            self._guards = (raw[start - GUARD : start], raw[start + size : start + size + GUARD])
        self.address = self.bytes.ctypes.data
        storage = self.bytes.view(self.dtype)
        strides = tuple(s * self.dtype.itemsize for s in _strides(buffer))
        self.array: np.ndarray = np.lib.stride_tricks.as_strided(storage, buffer.shape, strides)
        self._before: bytes | None = None

    def guard(self) -> None:
        """Makes the guard zones whole."""
        for zone in self._guards:
            zone[:] = self._pattern

    def poison(self) -> None:
        """NaN, or the lowest integer; bytes without either get a pattern."""
        if self.buffer.dtype in ("bool", "uint8"):
            self.bytes[:] = _POISON_BYTE
        elif "float" in self.buffer.dtype:
            self.bytes[:] = 0xFF
        else:
            self.bytes.view(self.dtype)[:] = np.iinfo(self.dtype).min

    def fill(self, values: np.ndarray | float) -> None:
        """Sets every element."""
        self.array[...] = values

    def remember(self) -> None:
        """Keeps the bytes as they are, for `check`."""
        self._before = self.bytes.tobytes()

    def check(self) -> None:
        """ExecutionError when something wrote where it must not."""
        name = self.buffer.name
        for guard, where in zip(self._guards, ("before", "after"), strict=False):
            if told := overwritten(guard, self._pattern, where, name):
                raise ExecutionError(told)
        if self._before is not None and self.bytes.tobytes() != self._before:
            raise InputChangedError(
                f"the kernel changed buffer {name!r}, whose role is {self.buffer.role.value}"
            )

    def result(self) -> np.ndarray:
        """A contiguous copy; ExecutionError when a bool is neither 0 nor 1."""
        if self.buffer.dtype == "bool":
            wrong = int(np.count_nonzero(self.array.view(np.uint8) > 1))
            if wrong:
                raise ExecutionError(
                    f"{wrong} elements of the bool buffer {self.buffer.name!r} are neither 0 nor "
                    "1: never written, or written with another type"
                )
        return np.array(self.array, order="C", copy=True)


class Memory:
    """Every buffer of a program, ready for a run; for the next one after `refill`."""

    def __init__(self, program: Program, inputs: Arrays, fenced: bool = False) -> None:
        """Storage for `program`: filled from `inputs` and initial values, else poisoned."""
        self._program = program
        self._blocks: dict[str, Block] = {}
        for buffer in program.buffers:
            if buffer.alias is None:
                self._blocks[buffer.name] = Block(buffer, fenced)
        self.refill(inputs)

    def refill(self, inputs: Arrays) -> None:
        """Other values at the same addresses, and nothing left of the last run."""
        program = self._program
        written = {program.buffer(b.alias).name for b in program.buffers if b.alias is not None}
        for buffer in program.buffers:
            if buffer.alias is not None:
                continue
            block = self._blocks[buffer.name]
            block.guard()
            self._set(block, inputs)
            if buffer.role in READ_ONLY and buffer.name not in written:
                block.remember()

    @staticmethod
    def sizes(program: Program) -> list[tuple[str, int]]:
        """Name and bytes of storage of every buffer, in the launcher's order."""
        return [(b.name, _span(b) * numpy_dtype(b.dtype).itemsize) for b in program.buffers]

    def _set(self, block: Block, inputs: Arrays) -> None:
        buffer = block.buffer
        block.poison()
        if buffer.name in inputs:
            value = inputs[buffer.name]
            if tuple(value.shape) != buffer.shape or value.dtype != block.dtype:
                raise ExecutionError(
                    f"input {buffer.name!r} is {value.dtype} {tuple(value.shape)}, the program "
                    f"wants {buffer.dtype} {buffer.shape}"
                )
            block.fill(value)
        elif buffer.initial is not None:
            block.fill(buffer.initial)
        elif buffer.role in GIVEN:
            raise ExecutionError(f"no array was given for the {buffer.role.value} {buffer.name!r}")

    def _owner(self, buffer: Buffer) -> Block:
        while buffer.alias is not None:
            buffer = self._program.buffer(buffer.alias)
        return self._blocks[buffer.name]

    def blocks(self) -> list[Block]:
        """The storage of every buffer in the launcher's order; an alias has that of its owner."""
        return [self._owner(b) for b in self._program.buffers]

    def addresses(self) -> list[int]:
        """Base addresses in the launcher's order."""
        return [block.address for block in self.blocks()]

    def check(self) -> None:
        """ExecutionError when a guard zone or a read-only buffer was written."""
        for block in self._blocks.values():
            block.check()

    def results(self) -> dict[str, np.ndarray]:
        """Outputs and state, by buffer name."""
        return {
            b.name: self._owner(b).result() for b in self._program.buffers if b.role in RETURNED
        }

"""Guard zones around buffers on a device: what a kernel writes beside a buffer shows there too."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mkgen.errors import ExecutionError
from mkgen.fence import REACH
from mkgen.program import Buffer
from mkgen_simt.memory import guard_pattern, overwritten


class Raw(Protocol):
    """The part of a device's memory that zones need; errors ExecutionError."""

    def allocate(self, size: int) -> int:
        """The address of `size` new bytes."""

    def free(self, pointer: int) -> None:
        """Gives back what `allocate` returned."""

    def upload(self, pointer: int, data: np.ndarray) -> None:
        """Copies the bytes of C-contiguous `data` to `pointer`."""

    def download(self, pointer: int, data: np.ndarray) -> None:
        """Fills C-contiguous `data` from `pointer`."""


class Fenced(Protocol):
    """Memory whose end is a fence."""

    address: int

    def free(self) -> None:
        """Gives it back; nothing may use it any more. ExecutionError."""


class Fencing(Protocol):
    """What makes memory at a fence."""

    def fenced(self, size: int, alignment: int) -> Fenced:
        """`size` bytes at a multiple of `alignment`; ExecutionError where there are no fences."""


class Room(Protocol):
    """Where the buffers of a run lie."""

    def allocate(self, buffer: Buffer, size: int) -> int:
        """The address of `size` new bytes for `buffer`."""

    def check(self) -> None:
        """ExecutionError when something wrote beside a buffer."""

    def free(self, address: int) -> None:
        """Gives back what `allocate` returned."""


class Fences:
    """Device buffers in front of addresses that fault, by their addresses.

    A read behind a buffer shows, too, though nothing uses what was read.
    """

    def __init__(self, raw: Fencing) -> None:
        self._raw = raw
        self._held: dict[int, Fenced] = {}

    def allocate(self, buffer: Buffer, size: int) -> int:
        """The address of `size` new bytes; ExecutionError where the device has no fences."""
        made = self._raw.fenced(size, buffer.alignment)
        self._held[made.address] = made
        return made.address

    def check(self) -> None:
        """A write behind a buffer has ended the run."""

    def free(self, address: int) -> None:
        """Unmaps what `allocate` returned."""
        self._held.pop(address).free()


class Zones:
    """Device buffers in the middle of larger allocations, by their addresses.

    A zone is as long as the fence of the emulators reaches (1 MiB): a store that leaves a buffer by
    whole rows or tiles, for which 4 KiB are too few, is seen on a device where it is seen without
    one. It is a multiple of every alignment, so that a buffer is aligned as its allocation is.
    Zones hold NaNs, or integers that make wild indices, so that reads beside a buffer show in what
    is computed of them.
    """

    def __init__(self, raw: Raw, reach: int = REACH) -> None:
        """`reach`: bytes of a zone; 0 where a tool watches the ends of allocations itself."""
        self._raw = raw
        self._reach = reach
        self._held: dict[int, tuple[Buffer, int]] = {}
        """Buffer and bytes, by address."""

    def allocate(self, buffer: Buffer, size: int) -> int:
        """The address of `size` new bytes for `buffer`, between zones that are whole."""
        if not self._reach:
            return self._raw.allocate(size)
        base = self._raw.allocate(self._reach + size + self._reach)
        address = base + self._reach
        self._held[address] = buffer, size
        pattern = guard_pattern(buffer, self._reach)
        self._raw.upload(base, pattern)
        self._raw.upload(address + size, pattern)
        return address

    def check(self) -> None:
        """ExecutionError when something wrote into a zone; they are whole else."""
        for address, (buffer, size) in self._held.items():
            pattern = guard_pattern(buffer, self._reach)
            for where, start in (("before", address - self._reach), ("after", address + size)):
                seen = np.empty_like(pattern)
                self._raw.download(start, seen)
                if told := overwritten(seen, pattern, where, buffer.name):
                    raise ExecutionError(told)

    def free(self, address: int) -> None:
        """Frees what `allocate` returned, zones included."""
        self._raw.free(address - self._reach)
        self._held.pop(address, None)

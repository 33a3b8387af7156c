"""The executor's side of timing: one call at a time, by the device's clock or by the host's.

A `Timer` decides nothing: which call is measured how, which outputs are looked at and what the
numbers mean is the parent's business (mkgen.evaluate.timing).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mkgen.program import BufferRole, Program, Repeat

#: Calls before the first timed one: loading of modules, clocks, allocators.
WARM_UPS = 3
#: Flushes that are put before a call so that the host has queued it before the device begins it.
_MOST_FILLS = 200


@dataclass(frozen=True)
class Bracket:
    """One call as the host's clock saw it, the device idle before."""

    host: float
    """Seconds from the call to an idle device, every stream and queue of it included."""
    submit: float
    """Of these, seconds until the call had returned."""
    after: float
    """Seconds that copying the outputs aside took then: long where something else still ran."""


class Timer(ABC):
    """A program whose inputs lie on the device. Buffers keep their addresses until `close`.

    Before every call written state is what it was, outputs are poisoned and the cache is flushed.
    `shift` rolls the values of every `rolling` input, in C order, by as many elements: other values
    at the same addresses. 0 leaves them as they were given; only a timer made for it takes another.
    """

    @abstractmethod
    def queued(self, shift: int = 0) -> float:
        """Seconds of one call by device events, launches queued before the device begins them."""

    @abstractmethod
    def bracketed(self, shift: int = 0) -> Bracket:
        """One call by the host's clock."""

    @abstractmethod
    def outputs(self) -> dict[str, np.ndarray]:
        """What the last call had written when it was over, by buffer name; written state too."""

    @abstractmethod
    def close(self) -> None:
        """Frees what the timer holds."""

    def warm(self, calls: int = WARM_UPS) -> None:
        """Calls that are not measured."""
        for _ in range(calls):
            self.queued()

    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels that one call launches, each as often; empty where nothing tells.

        A loop's kernels may be named once.
        """
        return ()


def fills_for(enqueue: float, fill: float) -> int:
    """How many flushes of `fill` seconds outlast `enqueue` seconds of the host twice."""
    if fill <= 0:
        return 1
    return max(1, min(_MOST_FILLS, round(2 * enqueue / fill + 0.5)))


def rolling(program: Program) -> tuple[str, ...]:
    """The inputs of `program` whose values may be rolled: drawn ones that lie in C order."""
    inputs = program.with_role(BufferRole.INPUT)
    return tuple(b.name for b in inputs if b.strides is None and b.alias is None)


def changed(program: Program) -> frozenset[str]:
    """Buffers whose storage a call changes, those that change places with one included."""
    swapped = (
        name
        for step in program.steps
        if isinstance(step, Repeat)
        for pair in step.swaps
        for name in pair
    )
    return frozenset((*swapped, *(name for launch in program.launches for name in launch.writes)))


def rolled(
    inputs: Mapping[str, np.ndarray], names: tuple[str, ...], shift: int
) -> dict[str, np.ndarray]:
    """`inputs` with the values of `names` rolled by `shift` elements in C order."""
    return {
        name: np.roll(array.reshape(-1), shift).reshape(array.shape) if name in names else array
        for name, array in inputs.items()
    }


def copy_seconds(
    copy: Callable[[], float], flush: Callable[[], None] | None, repeats: int
) -> list[float]:
    """Seconds of `repeats` copies, each right after another one of the same bytes.

    With `flush` between the two: what it evicts must come from memory again.
    """
    seconds = []
    for _ in range(repeats):
        copy()
        if flush is not None:
            flush()
        seconds.append(copy())
    return seconds

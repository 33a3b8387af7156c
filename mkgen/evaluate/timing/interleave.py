"""Candidate and baselines in turn, each in its own process, until the medians are known well."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mkgen.codegen.timer import Bracket
from mkgen.errors import ExecutionError
from mkgen.evaluate.arrays import load_arrays, save_arrays
from mkgen.evaluate.pool import Lease
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.timing.clocks import Readings, within_wall
from mkgen.evaluate.timing.statistics import median_interval
from mkgen.record import Status

#: Calls of one contestant before it is the next one's turn.
_TURN = (3, 8)
#: Of all calls, those by the host's clock instead of events.
_BRACKETED = 0.3
#: Of the candidate's calls, those whose outputs are fetched.
_FETCHED = 0.1
#: Samples without which there is no median, however slow the kernel is.
_LEAST = 5
_LEAST_BRACKETS = 3


@dataclass(frozen=True)
class Plan:
    """When a measurement is over."""

    samples: int = 20
    """Of each contestant by events, before the interval counts."""
    most: int = 400
    spread: float = 0.02
    """Half the width of the median's interval, as a share of the median, that is narrow enough."""
    seconds: float = 20.0
    """Budget of the whole, opening aside; a few samples are taken in any case."""
    checks: int = 3
    """Fetched outputs that are compared with the oracle."""


class Contestant:
    """One process that is timed. Its readings are only as good as the process is honest."""

    def __init__(self, name: str, lease: Lease, opening: Mapping[str, Any], timeout: float) -> None:
        """`opening`: what the job `open` says beside its name."""
        self.name, self._lease, self._opening, self._timeout = name, lease, opening, timeout
        self.readings = Readings()

    def open(self) -> None:
        """Puts everything on the device and calls it a few times. WorkerFailure."""
        self._ask("open", **self._opening)
        self._ask("warm")

    def step(self, random_: random.Random, shift: int) -> None:
        """One call, by a clock that is chosen now. WorkerFailure; IMPLAUSIBLE for a wrong clock."""
        if random_.random() < _BRACKETED:
            self.bracketed(shift)
        else:
            self.queued(shift)

    def queued(self, shift: int) -> None:
        """One call by device events."""
        seconds, wall = self._timed("queued", shift)
        self._credible(float(seconds), wall)
        self.readings.device.append(float(seconds))

    def bracketed(self, shift: int) -> None:
        """One call by the host's clock."""
        told, wall = self._timed("bracketed", shift)
        bracket = Bracket(*(float(told[name]) for name in ("host", "submit", "after")))
        self._credible(bracket.host, wall)
        self.readings.brackets.append(bracket)
        self.readings.walls.append(wall)

    def outputs(self) -> dict[str, np.ndarray]:
        """What the last call had written. WorkerFailure, also for broken arrays."""
        place = self._lease.new_directory("outputs-")
        try:
            self._ask("outputs", outputs=str(place / "arrays"))
            return load_arrays(place / "arrays")
        except ExecutionError as error:
            raise WorkerFailure(Status.CRASHED, str(error)) from error
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels that a call launches, as its process tells."""
        return tuple(str(name) for name in self._ask("kernels"))

    def flags(self) -> dict[str, str]:
        """PyTorch's global settings in its process, where it is a baseline's. WorkerFailure."""
        told = self._lease.call("flags", self._timeout)
        return {str(name): str(value) for name, value in told.items()}

    def close(self) -> None:
        """Frees the device's memory. WorkerFailure."""
        self._ask("close")

    def known_well(self, plan: Plan) -> bool:
        """Whether its median needs no more samples."""
        device = self.readings.device
        if len(device) < plan.samples or len(self.readings.brackets) < _LEAST_BRACKETS:
            return False
        return len(device) >= plan.most or median_interval(device).spread <= plan.spread

    def known_at_all(self) -> bool:
        """Whether there is a median."""
        readings = self.readings
        return len(readings.device) >= _LEAST and len(readings.brackets) >= _LEAST_BRACKETS

    def _timed(self, ask: str, shift: int) -> tuple[Any, float]:
        started = time.monotonic()
        told = self._ask(ask, shift=shift)
        return told, time.monotonic() - started

    def _credible(self, seconds: float, wall: float) -> None:
        reason = within_wall(seconds, wall)
        if reason:
            raise WorkerFailure(Status.IMPLAUSIBLE, reason)

    def _ask(self, ask: str, **arguments: Any) -> Any:
        return self._lease.call("timing", self._timeout, ask=ask, **arguments)


class Fetched:
    """Outputs of calls chosen at random; of all that were fetched a fair few are kept.

    They are copies: what the child still does to its files changes nothing.
    """

    def __init__(self, directory: Path, keep: int, random_: random.Random) -> None:
        self._directory, self._keep, self._random = directory, keep, random_
        self._kept: list[tuple[int, Path]] = []
        self.count = 0

    def fetch(self, contestant: Contestant, shift: int) -> None:
        """The outputs of the call just made, with inputs rolled by `shift`."""
        place = self._directory / f"timed{self.count}"
        save_arrays(place, contestant.outputs())
        self.count += 1
        if len(self._kept) < self._keep:
            self._kept.append((shift, place))
            return
        slot = self._random.randrange(self.count)
        if slot < self._keep:
            self._kept[slot], (shift, place) = (shift, place), self._kept[slot]
        shutil.rmtree(place, ignore_errors=True)

    def each(self, judge: Callable[[int, dict[str, np.ndarray]], None]) -> int:
        """Gives `judge` every kept one; how many there were."""
        for shift, place in self._kept:
            judge(shift, load_arrays(place))
        return len(self._kept)


def interleave(
    candidate: Contestant,
    baselines: Sequence[Contestant],
    plan: Plan,
    fetched: Fetched,
    random_: random.Random,
    shifts: Callable[[], int],
    drop: Callable[[Contestant, WorkerFailure], None],
) -> list[Contestant]:
    """Times in the order c b b c c b b c…; all are open. The baselines that held out.

    `shifts` gives by how much the candidate's inputs are rolled in its next call. A baseline that
    fails is told to `drop` and takes no further part. WorkerFailure of the candidate.
    """
    running = list(baselines)
    deadline = time.monotonic() + plan.seconds
    forth = True
    while True:
        order = [candidate, *running]
        for contestant in order if forth else order[::-1]:
            try:
                _turn(contestant, candidate, fetched, random_, shifts)
            except WorkerFailure as failure:
                if contestant is candidate:
                    raise
                running.remove(contestant)
                drop(contestant, failure)
        forth = not forth
        everyone = [candidate, *running]
        spent = time.monotonic() >= deadline
        if all(c.known_well(plan) for c in everyone) or (
            spent and all(c.known_at_all() for c in everyone)
        ):
            break
    while fetched.count < plan.checks:
        shift = shifts()
        candidate.step(random_, shift)
        fetched.fetch(candidate, shift)
    return running


def again(
    candidate: Contestant, random_: random.Random, shifts: Callable[[], int], calls: int = 8
) -> Readings:
    """Readings of `calls` more calls by either clock, and of these alone. WorkerFailure.

    What a busy machine did to the clocks does not come twice; what a candidate does, does.
    """
    candidate.readings = Readings()
    clocks = [candidate.queued, candidate.bracketed] * calls
    random_.shuffle(clocks)
    for clock in clocks:
        clock(shifts())
    return candidate.readings


def _turn(
    contestant: Contestant,
    candidate: Contestant,
    fetched: Fetched,
    random_: random.Random,
    shifts: Callable[[], int],
) -> None:
    for _ in range(random_.randint(*_TURN)):
        if contestant is not candidate:
            contestant.step(random_, 0)
            continue
        shift = shifts()
        candidate.step(random_, shift)
        if random_.random() < _FETCHED:
            fetched.fetch(candidate, shift)

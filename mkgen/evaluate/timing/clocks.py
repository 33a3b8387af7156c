"""Several clocks looked at one thing: what they may say together, and what they may not.

The device's events and the child's own clock are read in the candidate's process; the third, the
parent's, is out of its reach. Allowances are generous: they must fit an honest program on a busy
machine, and a lie worth telling is larger than they are.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from mkgen.codegen.timer import Bracket

#: What a host may need per launch: an interpreter's call, arguments, the driver.
LAUNCH_SECONDS = 100e-6
#: To wake a thread that waits for the device, and to read a clock; where the device is the CPU
#: itself, that thread waits for what it times, and for whatever else runs there.
WAKE_SECONDS = 75e-6
CPU_WAKE_SECONDS = 0.2
#: A job's way to the child and back, on a machine with other things to do.
JOB_SECONDS = 50e-3
CPU_JOB_SECONDS = 5.0
#: By how much two medians of the same thing may differ.
_SAME = 1.5
#: Share of the memory's bandwidth that filling and copying reach at least.
_COPY_SHARE = 1 / 32


@dataclass
class Readings:
    """Raw samples of one contestant, in seconds."""

    device: list[float] = field(default_factory=list)
    """By device events."""
    brackets: list[Bracket] = field(default_factory=list)
    """By the child's host clock; other calls than those of `device`."""
    walls: list[float] = field(default_factory=list)
    """By the parent's clock: the whole job of each of `brackets`."""


@dataclass(frozen=True)
class Surroundings:
    """What an honest program costs beside its kernels."""

    launches: int
    """Launches of one call."""
    copied_bytes: int
    """Written and copied before and after a call: flush, poison, state, outputs set aside."""
    bandwidth: float
    """Of the device's memory, bytes per second."""
    wake: float = WAKE_SECONDS
    job: float = JOB_SECONDS


def within_wall(claimed: float, wall: float) -> str:
    """Why a job that took `wall` seconds here cannot have measured `claimed`; empty when it can."""
    if math.isfinite(claimed) and 0 < claimed <= wall:
        return ""
    return (
        f"a call is said to have taken {claimed:.3g} s; the clock here saw {wall:.3g} s for all "
        "of it, so that the times are not credible"
    )


def conflict(readings: Readings, around: Surroundings) -> str:
    """How the clocks contradict each other; empty when they do not."""
    device = statistics.median(readings.device)
    host, submit, after = (_median(readings.brackets, n) for n in ("host", "submit", "after"))
    wall = statistics.median(readings.walls)
    copies = around.copied_bytes / (around.bandwidth * _COPY_SHARE)
    if device > _SAME * host + around.wake:
        return f"events say {device:.3g} s, the host saw the whole call within {host:.3g} s"
    outside = host - submit - device
    if outside > (_SAME - 1) * device + around.wake:
        return (
            f"the device was busy for {outside:.3g} s more after the call had returned than its "
            f"events enclose ({device:.3g} s): work outside of the timed stream"
        )
    launching = 2 * device + around.launches * LAUNCH_SECONDS + around.wake
    if host > launching:
        return (
            f"events say {device:.3g} s, the host waited {host:.3g} s; {around.launches} launches "
            "do not explain that: work that the events do not enclose"
        )
    if after > (_SAME - 1) * device + copies + around.wake:
        return (
            f"copying the outputs took {after:.3g} s when the call was over: something was still "
            "at work"
        )
    claimed = host + after
    if wall - claimed > 3 * claimed + copies + around.job:
        return (
            f"a call is said to take {host:.3g} s, and the clock here sees {wall:.3g} s for it: "
            "the clocks of its process are not credible"
        )
    return ""


def _median(brackets: Sequence[Bracket], name: str) -> float:
    return float(statistics.median(getattr(b, name) for b in brackets))


def clock_conflict(seconds: Sequence[float], wall: float) -> str:
    """How a device's times contradict the clock here; empty when they do not.

    The two must agree as far as they can: events cannot add up to more than the wall.
    """
    if seconds and min(seconds) > 0 and sum(seconds) <= wall:
        return ""
    return (
        f"{len(seconds)} runs add up to {sum(seconds):.3g} s, the clock here says {wall:.3g} s; "
        "the device's times are not credible"
    )

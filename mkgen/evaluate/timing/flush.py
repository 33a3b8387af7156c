"""How much must be written so that the last-level cache holds nothing of what came before, seen.

A copy of something that fits in the cache is timed right after the same copy, after the flush, and
after a flush so large that it certainly evicts. The flush works when the second is as slow as the
third, and what it reaches then is no more than the memory's bandwidth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mkgen.codegen.backend import FLUSH_FACTOR
from mkgen.evaluate.pool import Lease
from mkgen.evaluate.timing.statistics import median_interval
from mkgen.program import Program

#: Multiples of the cache that are tried, in order, and one that nothing survives.
FACTORS = (FLUSH_FACTOR, 2 * FLUSH_FACTOR)
CERTAIN = 4 * FLUSH_FACTOR
#: Of the cache, what the probe copies: read and written it takes twice that, and halves of a
#: cache that hold the same lines twice (H100) leave half of it.
_PROBE_SHARE = 5
_REPEATS = 9
_SECONDS = 60.0
#: Of the way from cached to not cached, what a flush must reach.
_ENOUGH = 0.8
#: By how much a copy from memory must be slower than one from the cache for that to be seen.
_TELLING = 1.1
_LEAST_BYTES = 1 << 20


@dataclass(frozen=True)
class Flush:
    """Bytes to write before a call, and whether they were seen to evict."""

    size: int
    verified: bool
    reason: str
    """What was seen, or why nothing was."""


def find_flush(
    lease: Lease, executor: str, program: Program, cache_bytes: int, bandwidth: float
) -> Flush:
    """The smallest flush that works on the device of `lease`, where no program is loaded yet.

    `cache_bytes`: the device's last-level cache. `bandwidth`: of its memory, bytes per second; 0
    where a profile states none that is this device's. WorkerFailure.
    """

    def copies(flush_bytes: int) -> list[float]:
        told = lease.call(
            "timing",
            _SECONDS,
            ask="probe",
            executor=executor,
            program=program.model_dump(mode="json"),
            size=size,
            flush_bytes=flush_bytes,
            repeats=_REPEATS,
        )
        return [float(seconds) for seconds in told]

    size = max(cache_bytes // _PROBE_SHARE, 4096)
    first = max(FACTORS[0] * cache_bytes, _LEAST_BYTES)
    warm = copies(0)
    if not cache_bytes or not warm:
        why = "no cache is known" if not cache_bytes else "the executor has no probe"
        return Flush(first, False, f"{why}, so that nothing was seen of the flush")
    certain = copies(CERTAIN * cache_bytes)
    reason = ""
    for factor in FACTORS:
        tried = max(factor * cache_bytes, _LEAST_BYTES)
        flushed = copies(tried)
        reason = failing(warm, flushed, certain, 2 * size, bandwidth)
        if not reason:
            reached = 2 * size / median_interval(flushed).median
            return Flush(tried, True, f"after it a copy reaches {reached / 1e9:.4g} GB/s")
    return Flush(first, False, reason)


def failing(
    warm: Sequence[float],
    flushed: Sequence[float],
    certain: Sequence[float],
    moved: int,
    bandwidth: float,
) -> str:
    """Why the times of copies do not show that the flush evicts; empty when they do."""
    fast, seen, slow = (median_interval(s).median for s in (warm, flushed, certain))
    if slow < _TELLING * fast:
        return (
            f"a copy from memory takes {slow:.3g} s, one from the cache {fast:.3g} s: too near to "
            "tell a flush that evicts from one that does not"
        )
    if seen < fast + _ENOUGH * (slow - fast):
        return (
            f"a copy after the flush takes {seen:.3g} s, from the cache {fast:.3g} s, from memory "
            f"{slow:.3g} s: the flush leaves much of it in the cache"
        )
    if bandwidth and moved / seen > bandwidth:
        return (
            f"a copy after the flush reaches {moved / seen / 1e9:.4g} GB/s, more than the memory's "
            f"{bandwidth / 1e9:.4g} GB/s"
        )
    return ""

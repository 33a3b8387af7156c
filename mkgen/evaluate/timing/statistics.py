"""Medians with intervals, from raw samples; no assumption about how they are distributed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mkgen.record import Speed

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A median and the ends of its confidence interval, in the unit of the samples."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Half the interval's width as a share of the median."""
        return (self.high - self.low) / 2 / self.median if self.median > 0 else math.inf


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The median of `samples`, and two order statistics between which the true one is.

    The r-th smallest and the r-th largest of n independent samples enclose the median with the
    probability 1 - 2 P(B < r), B binomial of n and 1/2 (David and Nagaraja, Order Statistics,
    7.1); r is the largest for which that is `confidence`. Fewer than six samples cannot reach
    95 %: then it is all of them. ValueError without samples.
    """
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    n = len(ordered)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    below, rank = 0.5**n if n < 1024 else 0.0, 0
    # `below` is P(B < rank + 1), summed term by term
    term = below
    while rank < (n - 1) // 2 and 1 - 2 * below >= confidence:
        rank += 1
        term = term * (n - rank + 1) / rank
        below += term
    first = max(rank, 1) - 1
    return Interval(middle, ordered[first], ordered[n - 1 - first])


def speed(name: str, samples: Sequence[float]) -> Speed:
    """`samples` in seconds as a record states them."""
    found = median_interval(samples)
    return Speed(
        name=name, median=found.median, low=found.low, high=found.high, samples=len(samples)
    )


def ratio(baseline: Speed, candidate: Speed) -> tuple[float, float, float]:
    """How many times faster the candidate is than the baseline: median, lowest, highest.

    The ends are those of both intervals at their worst and best.
    """
    return (
        baseline.median / candidate.median,
        baseline.low / candidate.high,
        baseline.high / candidate.low,
    )

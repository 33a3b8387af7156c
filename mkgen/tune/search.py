"""Which candidates to measure, and how often: seeded strategies and successive halving.

Points are numbers, best estimate of the model first. Nothing here knows what a point is, how it
is measured or that it may have been measured before: a search whose measurements are all known
is the same search again, which is how one that was killed goes on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

#: Samples of every candidate, of the better third, of the best of those.
RUNGS = (3, 7, 21)
_KEPT_SHARE = 3
_FINALISTS = 3
_BATCH = 4
_FIRST = 12
_ELITE = 3
#: Share of the budget after which nothing new is tried, so that the best are measured well.
_EXPLORED = 0.75


class BudgetSpent(Exception):  # noqa: N818  the end of a search, not an error
    """There is no time left to measure anything."""


class Measure(Protocol):
    """Measures points, one after the other; None for one that is not right."""

    def __call__(self, points: Sequence[int], samples: int) -> Iterator[tuple[int, float | None]]:
        """(point, median seconds), in the order of `points`. BudgetSpent when time is up."""


@dataclass(frozen=True)
class Space:
    """The points of a search."""

    count: int
    neighbours: Callable[[int], Sequence[int]]
    """Points that differ little from a point, nearest first."""
    start: tuple[int, ...] = ()
    """Points to try before all others: what was best before."""


Results = Mapping[int, float | None]
Strategy = Callable[[Space, Results, random.Random, int], Sequence[int]]
"""The next points to measure, given what is known and how many may follow; none: it is done."""


@dataclass
class Outcome:
    """What a search has seen: per rung the median seconds of each point, None where not right."""

    rungs: list[dict[int, float | None]] = field(default_factory=lambda: [{} for _ in RUNGS])
    complete: bool = False
    """Whether it ended by itself, not for want of time."""

    @property
    def tried(self) -> int:
        """How many points were measured at least once."""
        return len(self.rungs[0])

    def ranking(self) -> list[int]:
        """Right points, best first; one that was measured more often before one that was not."""
        best: dict[int, tuple[int, float]] = {}
        for number, rung in enumerate(self.rungs):
            best |= {p: (-number, s) for p, s in rung.items() if s is not None}
            for point in (p for p, s in rung.items() if s is None):
                best.pop(point, None)  # right at first, and then not
        return sorted(best, key=lambda p: best[p])


def search(
    space: Space,
    measure: Measure,
    *,
    trials: int,
    seed: int = 0,
    strategy: str = "guided",
    spent: Callable[[], float] = lambda: 0.0,
) -> Outcome:
    """Measures at most `trials` points of `space`; the better ones more often.

    `spent` says how much of the budget is used, 0 to 1. The sequence of points follows from
    `seed` and from what was measured.
    """
    outcome = Outcome()
    try:
        _explore(space, measure, trials, random.Random(seed), STRATEGIES[strategy], spent, outcome)
        for number in range(1, len(RUNGS)):
            ranked = [p for p in outcome.ranking() if p in outcome.rungs[number - 1]]
            kept = max(_FINALISTS, -(-len(ranked) // _KEPT_SHARE))
            chosen = ranked[: kept if number == 1 else _FINALISTS]
            outcome.rungs[number].update(measure(chosen, RUNGS[number]))
        outcome.complete = True
    except BudgetSpent:
        pass  # what was measured until now counts
    return outcome


def _explore(
    space: Space,
    measure: Measure,
    trials: int,
    rng: random.Random,
    strategy: Strategy,
    spent: Callable[[], float],
    outcome: Outcome,
) -> None:
    seen = outcome.rungs[0]
    while len(seen) < min(trials, space.count):
        points = strategy(space, seen, rng, min(trials, space.count) - len(seen))
        for point, seconds in measure(points, RUNGS[0]):
            seen[point] = seconds
            if spent() > _EXPLORED:
                return


def guided(space: Space, seen: Results, rng: random.Random, left: int) -> Sequence[int]:
    """First what the model likes best, then random neighbours of the best measured."""
    if not seen:
        liked = max(1, min(_FIRST, -(-left // 2)))
        wanted = dict.fromkeys([*space.start, *range(space.count)])
        return list(wanted)[: max(liked, min(len(space.start), left))]
    right = sorted((s, p) for p, s in seen.items() if s is not None)
    near: dict[int, None] = {}
    for _, point in right[:_ELITE]:
        near |= dict.fromkeys(n for n in space.neighbours(point) if n not in seen)
    chosen = rng.sample(list(near), min(len(near), _BATCH - 1, left))
    # one from anywhere: neighbours alone never leave the hill they are on
    others = [p for p in range(space.count) if p not in seen and p not in chosen]
    room = min(_BATCH, left) - len(chosen)
    return chosen + rng.sample(others, min(room, len(others)))


def anywhere(space: Space, seen: Results, rng: random.Random, left: int) -> Sequence[int]:
    """Points at random: what a strategy must beat."""
    others = [p for p in range(space.count) if p not in seen]
    return rng.sample(others, min(_BATCH, left, len(others)))


def everything(space: Space, seen: Results, rng: random.Random, left: int) -> Sequence[int]:
    """Every point, the model's best first."""
    return [p for p in range(space.count) if p not in seen][: min(_FIRST, left)]


STRATEGIES: Mapping[str, Strategy] = {
    "guided": guided,
    "random": anywhere,
    "exhaustive": everything,
}

"""`tune`: the search for one task on one device, kernel by kernel, and what it found."""

from __future__ import annotations

import datetime
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mkgen.codegen.candidate import Generator
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings
from mkgen.record import Status
from mkgen.tune.generate import require_precision
from mkgen.tune.journal import Journal, Trial
from mkgen.tune.measure import Bench
from mkgen.tune.search import Outcome, search
from mkgen.tune.space import KernelSpace, Pick, assemble, picks_of, spaces
from mkgen.tune.winners import (
    Found,
    Winner,
    Winners,
    candidate_of,
    computation_hash,
    workload_class,
)

#: Candidates that a kernel of several is given at least.
_LEAST_TRIALS = 3


@dataclass(frozen=True)
class Effort:
    """How much to search."""

    trials: int | None = None
    """Candidates at most, those of earlier commands included; None: as many as are legal."""
    budget: float | None = None
    """Seconds of this command; None: no limit."""
    seed: int = 0
    strategy: str = "guided"


@dataclass(frozen=True)
class Tuned:
    """What came of a search."""

    winner: Winner | None
    """None: nothing was seen to be right in time."""
    kept: bool
    """Whether the winner is one of before: this search ended too early to replace it."""
    trials: tuple[Trial, ...]
    """Every trial, in order, those of earlier commands included."""
    known: int
    """How many of them are of earlier commands."""
    spaces: tuple[KernelSpace, ...]
    complete: bool
    """Whether the search ended by itself."""


def tune(
    generator: Generator,
    workers: Workers,
    settings: Settings,
    effort: Effort,
    journal: Journal,
    winners: Winners,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> Tuned:
    """Measures choices for each kernel, the others at their best, and stores the winner.

    Raises MissingError (no device), UserError (not that device), UnsupportedError (no choice).
    """
    started = time.monotonic()
    require_precision(generator)
    seen: list[Trial] = []
    known: list[bool] = []

    def report(trial: Trial, was_known: bool) -> None:
        seen.append(trial)
        known.append(was_known)
        if progress:
            progress(f"{generator.task.name}: {len(seen)} measured", len(seen), len(seen) + 1)

    bench = Bench(generator, workers, settings, journal, report=report)
    try:
        found = winners.find(generator, bench.toolchain)
        kernel_spaces = spaces(generator)
        bench.open(assemble(generator, [space.points[0].pick for space in kernel_spaces]))
        end = started + effort.budget if effort.budget is not None else float("inf")
        best, complete = _Search(generator, bench, effort, end).go(kernel_spaces, found)
    finally:
        bench.close()
    winner = _winner(generator, bench, best, seen, kernel_spaces) if best else None
    kept = found is not None and _still_best(found, winner, complete)
    if found is not None and kept:
        winner = found.winner
    elif winner is not None:
        winners.put(winner)
    return Tuned(winner, kept, tuple(seen), sum(known), tuple(kernel_spaces), complete)


class _Search:
    """One kernel after the other."""

    def __init__(self, generator: Generator, bench: Bench, effort: Effort, end: float) -> None:
        self.generator, self.bench, self.effort, self.end = generator, bench, effort, end

    def go(
        self, kernel_spaces: Sequence[KernelSpace], found: Found | None
    ) -> tuple[Trial | None, bool]:
        """The best trial, and whether every search ended by itself."""
        picks = self._start(kernel_spaces, found)
        best: Trial | None = None
        complete = True
        order = sorted(
            range(len(picks)), key=lambda n: (-_at_stake(kernel_spaces[n]), n)
        )  # fmt: skip
        used = 0
        for turn, number in enumerate(order):
            turns = len(order) - turn
            if turns < len(order) and len(kernel_spaces[number].points) == 1 and best:
                continue  # its only choice is part of what was measured
            trials = len(kernel_spaces[number].points)
            if self.effort.trials is not None:
                share = max(_LEAST_TRIALS, (self.effort.trials - used) // turns)
                trials = min(trials, share)
            outcome = self._kernel(kernel_spaces[number], number, picks, trials, turns)
            used += outcome.tried
            complete = complete and outcome.complete
            ranking = outcome.ranking()
            if ranking:
                picks[number] = kernel_spaces[number].points[ranking[0]].pick
                best = self.bench.trial(assemble(self.generator, picks))
        return best, complete

    def _start(self, kernel_spaces: Sequence[KernelSpace], found: Found | None) -> list[Pick]:
        """What to begin with: as an earlier command did, else the winner, else the model's best."""
        first = self.bench.first
        before = found.candidate if found else None
        if first is not None:
            before = candidate_of(self.generator, first.templates, first.parameters)
        if before is not None:
            return picks_of(before)
        return [space.points[0].pick for space in kernel_spaces]

    def _kernel(
        self,
        space: KernelSpace,
        number: int,
        picks: Sequence[Pick],
        trials: int,
        turns: int,
    ) -> Outcome:
        """Searches one kernel in its share of the time that is left."""
        begun = time.monotonic()
        share = (self.end - begun) / turns
        self.bench.deadline = begun + share

        def measure(points: Sequence[int], samples: int) -> Iterator[tuple[int, float | None]]:
            candidates = {}
            for point in points:
                chosen = [*picks[:number], space.points[point].pick, *picks[number + 1 :]]
                candidates[point] = assemble(self.generator, chosen)
            return self.bench.measure(candidates, samples)

        return search(
            space.search_space([picks[number]]),
            measure,
            trials=trials,
            seed=self.effort.seed,
            strategy=self.effort.strategy,
            spent=lambda: (time.monotonic() - begun) / share if share > 0 else 1.0,
        )


def _at_stake(space: KernelSpace) -> float:
    """Seconds between the best and the worst choice, by the model: what matters most goes first."""
    return space.points[-1].estimate.seconds - space.points[0].estimate.seconds


def _winner(
    generator: Generator,
    bench: Bench,
    best: Trial,
    seen: Sequence[Trial],
    kernel_spaces: Sequence[KernelSpace],
) -> Winner:
    return Winner(
        task=generator.task.name,
        computation=computation_hash(generator.task),
        workload_class=workload_class(generator.workload.sizes),
        target=bench.target,
        precision=generator.precision,
        toolchain=bench.toolchain,
        template_sha=bench.template_sha,
        text_sha=best.text_sha,
        templates=best.templates,
        parameters=best.parameters,
        sizes=generator.workload.sizes,
        seconds=statistics.median(best.seconds),
        samples=len(best.seconds),
        device=bench.device,
        measured=datetime.datetime.now(datetime.UTC).date().isoformat(),
        trials=len({t.variant for t in seen}),
        legal=sum(len(space.points) for space in kernel_spaces),
    )


def _still_best(found: Found, winner: Winner | None, complete: bool) -> bool:
    """Whether the winner of before stays: a search that was cut short did not beat it."""
    if found.source.kind != "tuned":
        return False
    if winner is None:
        return True
    same = found.winner.sizes == winner.sizes
    return same and not complete and found.winner.seconds <= winner.seconds


def failures(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that are not right, one per candidate."""
    return list({t.variant: t for t in trials if t.status is not Status.PASS}.values())

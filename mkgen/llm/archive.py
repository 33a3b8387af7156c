"""A MAP-Elites archive (Mouret and Clune 2015): per cell the best kernel, on several islands.

Islands are populations of their own: an entry competes within its cell on its island only. Every
MIGRATION entries one island, drawn by the seed, sends its best elite to the next one. The archive
is a fold over the entries of a journal: the same entries give the same archive.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from mkgen.document import Document
from mkgen.llm.describe import CELLS, Cell, neighbours
from mkgen.llm.fitness import Fitness
from mkgen.record import Status

#: Entries between two migrations.
MIGRATION = 12
EVERYWHERE = -1
"""The island of seeds: they are put on each."""


class Entry(Document):
    """One finished evaluation of an evolution."""

    event: Literal["entry"] = "entry"
    number: int
    """From 0, in the order in which they were evaluated."""
    island: int
    generation: int
    """0 for seeds, else one more than the parent's."""
    parent: int | None
    """Number of the entry whose text was shown; None where none was."""
    variation: str
    """What was to be tried; empty for seeds."""
    prompt_sha: str = ""
    sample: int = 0
    status: Status
    record_key: str
    cell: Cell | None = None
    fitness: Fitness | None = None
    text: str = ""
    """Of what passed; empty for all else."""


class Archive:
    """Elites by island and cell, and how they came there."""

    def __init__(self, islands: int, seed: int, reachable: Sequence[Cell]) -> None:
        self.seed = seed
        self.reachable = tuple(reachable)
        self.entries: list[Entry] = []
        self.populations: list[dict[Cell, Entry]] = [{} for _ in range(islands)]
        self.counts: Counter[Cell] = Counter()
        """Passing entries by cell, elites or not."""
        self.parents: Counter[int] = Counter()
        """How often an entry was shown as a parent."""

    def add(self, entry: Entry) -> bool:
        """Takes the next entry; True where it is new in its cell, or better than what was there.

        What did not pass never becomes an elite. ValueError for an entry out of order.
        """
        if entry.number != len(self.entries):
            raise ValueError(f"entry {entry.number} after {len(self.entries)} entries")
        self.entries.append(entry)
        if entry.parent is not None:
            self.parents[entry.parent] += 1
        accepted = False
        if entry.cell is not None and entry.fitness is not None:
            self.counts[entry.cell] += 1
            everywhere = entry.island == EVERYWHERE
            where = range(len(self.populations)) if everywhere else (entry.island,)
            for island in where:
                accepted = self._enter(island, entry) or accepted
        if len(self.entries) % MIGRATION == 0:
            self._migrate()
        return accepted

    def elites(self, island: int | None = None) -> dict[Cell, Entry]:
        """The best entry per cell, in the order of cells: of one island, or of all."""
        best: dict[Cell, Entry] = {}
        for population in self.populations if island is None else [self.populations[island]]:
            for cell, entry in population.items():
                if cell not in best or rank(entry) < rank(best[cell]):
                    best[cell] = entry
        return {cell: best[cell] for cell in CELLS if cell in best}

    def best(self) -> Entry | None:
        """The best entry of all; of equals the earlier one."""
        return min(self.elites().values(), key=rank, default=None)

    def empty(self, near: Cell | None = None) -> tuple[Cell, ...]:
        """Reachable cells without an elite on any island; only neighbours of `near` where given."""
        filled = self.elites()
        wanted = self.reachable if near is None else neighbours(near)
        return tuple(c for c in wanted if c in self.reachable and c not in filled)

    def coverage(self) -> float:
        """The share of reachable cells that have an elite."""
        filled = self.elites()
        return sum(c in filled for c in self.reachable) / max(1, len(self.reachable))

    def parent(self, island: int, chance: random.Random) -> Entry | None:
        """An elite of `island` to go on from, drawn by novelty and fitness; None without any.

        Its weight is (1 + empty neighbours) / (1 + times it was a parent), times its place among
        the island's elites: 1 for the fittest, 1/n for the last of n.
        """
        elites = list(self.elites(island).values())
        if not elites:
            return None
        places = {e.number: place for place, e in enumerate(sorted(elites, key=rank))}
        weights = [
            (1 + len(self.empty(e.cell)))
            / (1 + self.parents[e.number])
            * (len(elites) - places[e.number])
            / len(elites)
            for e in elites
        ]
        return chance.choices(elites, weights)[0]

    def _enter(self, island: int, entry: Entry) -> bool:
        assert entry.cell is not None
        population = self.populations[island]
        held = population.get(entry.cell)
        if held is not None and rank(held) <= rank(entry):
            return False
        population[entry.cell] = entry
        return True

    def _migrate(self) -> None:
        count = len(self.populations)
        source = random.Random(f"migration {self.seed} {len(self.entries)}").randrange(count)
        best = min(self.populations[source].values(), key=rank, default=None)
        if best is not None:
            self._enter((source + 1) % count, best)


def rank(entry: Entry) -> tuple[int, float, int]:
    """Smaller is better; of equal fitness the earlier entry."""
    assert entry.fitness is not None
    return (*entry.fitness.rank, entry.number)

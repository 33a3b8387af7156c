"""Small sizes for a reference that does at them what it does at its own, large ones.

Nothing is computed for it: every trial runs the reference on tensors without memory and compares
the operations with those at the file's own sizes. Sizes that cannot change alone (heads that divide
a width) take multiples; sizes that cannot change at all (the steps of a Python loop) are fixed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mkgen.errors import UserError
from mkgen.foreign.trace import Traced
from mkgen.task import Sizes

#: What a check on a CPU may hold and multiply, so that every backend's emulation takes seconds.
MAX_ELEMENTS = 50_000
MAX_VOLUME = 10_000_000
#: More than this cannot be run on a CPU in the time that an evaluation gives it.
_HOPELESS_ELEMENTS = 4_000_000
_HOPELESS_VOLUME = 1_000_000_000

_MULTIPLES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64)
#: A size is raised to one of these where the budget has room: past every tile of our templates.
_LEVELS = (2, 3, 5, 7, 11, 17, 31, 67, 137, 269, 523, 1049, 2557, 5003)
#: More columns or rows than a tile of a product has, or a work-group that reduces short rows.
_PAST_TILES = 300
#: Below it a size is a number of heads, taps or layers, which is never raised.
_FEW = 16
#: Check and held-out sizes in all, at least.
_ROUNDS = 4

Trial = Callable[[Sizes], Traced | None]
"""The trace at some sizes; None where the reference refuses them."""


@dataclass
class Shrinker:
    """Finds small sizes for one reference."""

    bench: Sizes
    trial: Trial
    ties: list[tuple[str, ...]] = field(default_factory=list)
    """Sizes that change together, with what each must be a multiple of in `multiples`."""
    multiples: list[int] = field(default_factory=list)
    elements: int = MAX_ELEMENTS
    volume: int = MAX_VOLUME
    _wanted: Traced | None = None
    _seen: dict[tuple[int, ...], Traced | None] = field(default_factory=dict)

    def free(self) -> frozenset[str]:
        """The sizes that can change, once it is known how. UserError when the file itself fails."""
        self._wanted = self.trial(self.bench)
        if self._wanted is None:
            raise UserError("the reference fails at its own sizes")
        stuck: list[str] = []
        for name in self.bench:
            multiple = self._multiple((name,))
            if multiple:
                self._tie((name,), multiple)
            else:
                stuck.append(name)
        for value in dict.fromkeys(self.bench[n] for n in stuck):
            names = tuple(n for n in stuck if self.bench[n] == value)
            multiple = self._multiple(names) if len(names) > 1 else 0
            if multiple:
                self._tie(names, multiple)
        return frozenset(n for names in self.ties for n in names)

    def small(self) -> list[Sizes]:
        """Small sizes, each as different from the others as can be. UserError when none are small.

        In the first round all are of a kind, in the others one after the other is as large as the
        budget lets it, so that every size has a round in which loops over it turn twice.
        """
        if not self.ties:
            return [dict(self.bench)]
        found = [self._even()]
        for number in range(1, max(_ROUNDS, len(self.ties) + 1)):
            if self._most(self._order(number)[0]) < _FEW and number >= _ROUNDS:
                continue
            sizes = self._least(number)
            for position in self._order(number):
                sizes = self._raised(sizes, position, number)
            if sizes not in found:
                found.append(sizes)
        return found

    def _even(self) -> Sizes:
        """Every size as large as the others, as far as each can be."""
        sizes = self._least(0)
        growing = set(range(len(self.ties)))
        for level in _LEVELS:
            for position in sorted(growing):
                tried = self._with(sizes, position, level, 0)
                own = self.ties[position][0]
                if (
                    level > self._most(position)
                    or tried[own] > sizes[own]
                    and not self._fits(tried)
                ):
                    growing.discard(position)
                elif tried[own] > sizes[own]:
                    sizes = tried
        return sizes

    def _tie(self, names: tuple[str, ...], multiple: int) -> None:
        self.ties.append(names)
        self.multiples.append(multiple)

    def _multiple(self, names: tuple[str, ...]) -> int:
        """What `names`, changed together, may be multiples of; 0 when they cannot change."""
        value = self.bench[names[0]]
        for multiple in _MULTIPLES:
            if value % multiple:
                continue
            primes = {prime_at_most(value // (part * multiple)) for part in (2, 3, 5)}
            # 2 and 3 say little where there are larger ones: 3 * 64 is a multiple of 12 as well
            for prime in sorted(primes, reverse=True):
                small = prime < 5 and value // multiple > 12
                if multiple * prime >= value or small:
                    continue
                if self._legal(self.bench | dict.fromkeys(names, multiple * prime)):
                    return multiple
        return 0

    def _legal(self, sizes: Sizes) -> Traced | None:
        """The trace at `sizes` when the operations are those of the file's own sizes."""
        assert self._wanted is not None
        key = tuple(sizes.values())
        if key not in self._seen:
            found = self.trial(sizes)
            same = found is not None and found.operations == self._wanted.operations
            self._seen[key] = found if same else None
        return self._seen[key]

    def _fits(self, sizes: Sizes) -> bool:
        found = self._legal(sizes)
        if found is None:
            return False
        return found.elements <= self.elements and found.volume <= self.volume

    def _order(self, number: int) -> Sequence[int]:
        """Which tie is raised first in a round: each has its turn, then again with others next."""
        count = len(self.ties)
        turn, cycle = (number - 1) % count, (number - 1) // count
        rest = [(turn + i) % count for i in range(1, count)]
        return [turn, *(rest[::-1] if cycle % 2 else rest)]

    def _value(self, position: int, level: int, number: int, taken: Sequence[int]) -> int:
        """A multiple near `level` that no other size has, other ones in other rounds."""
        most, multiple = self._most(position), self.multiples[position]
        value = max(min(level, most) // multiple, 2)
        prime = prime_at_most(value)
        for _ in range(number):
            smaller = prime_at_most(prime - 1)
            prime = smaller if smaller > max(value // 2, 4) else prime
        below, above = range(prime, 1, -1), range(prime + 1, most // multiple + 1)
        for factor in itertools.chain(below, above):
            if multiple * factor not in taken:
                return multiple * factor
        return multiple * prime

    def _most(self, position: int) -> int:
        """The largest value of a tie in a check: past a tile, even where the file's own is not."""
        own = self.bench[self.ties[position][0]]
        return own if own < _FEW else max(own, _PAST_TILES)

    def _with(self, sizes: Sizes, position: int, level: int, number: int) -> Sizes:
        names = self.ties[position]
        taken = [v for n, v in sizes.items() if n not in names]
        return sizes | dict.fromkeys(names, self._value(position, level, number, taken))

    def _least(self, number: int) -> Sizes:
        """The smallest sizes that are legal."""
        for level in _LEVELS:
            sizes = dict(self.bench)
            for position, names in enumerate(self.ties):
                sizes |= dict.fromkeys(names, -position - 1)  # none is taken yet
            for turn in range(len(self.ties)):  # who comes first takes the smallest number
                position = (turn + number) % len(self.ties)
                least = max(level, 2 * self.multiples[position])
                sizes = self._with(sizes, position, least, number)
            found = self._legal(sizes)
            if found and (found.elements > _HOPELESS_ELEMENTS or found.volume > _HOPELESS_VOLUME):
                break
            if found:
                # fixed sizes may be large: the others are then kept from adding much to them
                self.elements = max(self.elements, 2 * found.elements)
                self.volume = max(self.volume, 2 * found.volume)
                return sizes
        kept = {n: v for n, v in self.bench.items() if n not in {m for t in self.ties for m in t}}
        listed = ", ".join(f"{n}={v}" for n, v in kept.items()) or "its literal numbers"
        raise UserError(
            "it cannot be made small enough to be checked on a CPU, because the operations change "
            f"with {listed}; make those smaller in the file"
        )

    def _raised(self, sizes: Sizes, position: int, number: int) -> Sizes:
        """`sizes` with one tie as large as the budget allows."""
        most = self._most(position)
        levels = [v for v in _LEVELS if v < most] + [most]
        low, high = 0, len(levels)
        best = sizes
        while low < high:
            middle = (low + high) // 2
            tried = self._with(sizes, position, levels[middle], number)
            if self._fits(tried):
                best, low = tried, middle + 1
            else:
                high = middle
        grown = best[self.ties[position][0]] > sizes[self.ties[position][0]]
        return best if grown else sizes


def prime_at_most(value: int) -> int:
    """The largest prime that is not above `value`, 2 below 3."""
    while value > 2 and any(value % d == 0 for d in range(2, math.isqrt(value) + 1)):
        value -= 1
    return max(value, 2)

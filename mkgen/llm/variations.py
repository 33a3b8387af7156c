"""Variations: short instructions of what to try, which earn credit and are chosen by it.

A bandit (UCB1, Auer et al. 2002) with a discount (Garivier and Moulines 2011): what helped long ago
counts less than what helped lately. A variation is known by its text.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mkgen.llm.archive import Archive
from mkgen.llm.describe import Cell, Decomposition, Memory, Unit, Value
from mkgen.llm.prompt import MOST_OF_VARIATION

#: What is left of a use and its success after each further use of any variation.
DECAY = 0.98
#: How much what is seldom tried is preferred; sqrt(2) is UCB1's.
EXPLORATION = math.sqrt(2)


@dataclass(frozen=True)
class Variation:
    """One instruction of one sentence."""

    text: str
    aim: Value | None = None
    """Where on an axis it should lead; None: anywhere."""


VARIATIONS = (
    Variation("Keep the row or tile that a thread works on in registers, and share nothing.",
              Memory.REGISTERS),
    Variation("Stage what several threads read in memory that the block shares, tile by tile.",
              Memory.SHARED),
    Variation("Fill the block's memory by asynchronous copies or block loads while computing.",
              Memory.FED),
    Variation("Let each thread compute one element of the result by itself.",
              Decomposition.ELEMENT),
    Variation("Let each block compute a tile of the result, several elements to a thread.",
              Decomposition.TILE),
    Variation("Let a block compute one row, its threads each a part of the sum, then combine them.",
              Decomposition.ROW),
    Variation("Split the sum over blocks: a first kernel for partial results, a second for the "
              "whole.", Decomposition.SPLIT),
    Variation("Use plain scalar loads and scalar arithmetic.", Unit.SCALAR),
    Variation("Load, compute and store vectors of 4 elements, and the rest one by one.",
              Unit.VECTOR),
    Variation("Let matrix units compute the products of tiles.", Unit.MATRIX),
    Variation("Change the number of threads of a block and how much work each of them has."),
    Variation("Unroll the inner loop by 4 and keep 4 independent sums."),
    Variation("Read each input once: fuse the passes over the data, or keep what was read."),
    Variation("Use fewer registers and less shared memory, so that more blocks run at a time."),
)  # fmt: skip
"""What an evolution starts with."""


def eligible(
    variations: Iterable[Variation], parent: Cell | None, archive: Archive
) -> list[Variation]:
    """Those that lead from `parent` into an empty neighbouring cell, and those without an aim.

    Where no neighbour is empty: those that lead elsewhere within reach at all.
    """
    if parent is None:
        return [v for v in variations if v.aim is None]
    reach = [c for c in archive.reachable if c != parent]
    wanted = archive.empty(parent) or reach
    aims = {value for cell in wanted for value in cell.values} - {*parent.values}
    return [v for v in variations if v.aim is None or v.aim in aims]


class Bandit:
    """What each variation was worth."""

    def __init__(self, variations: Sequence[Variation] = VARIATIONS) -> None:
        self.variations = list(variations)
        self._uses: dict[str, float] = {}
        self._successes: dict[str, float] = {}

    def add(self, text: str) -> None:
        """A further variation, unless it is known."""
        if text and text not in [v.text for v in self.variations]:
            self.variations.append(Variation(text))

    def learn(self, text: str, accepted: bool) -> None:
        """One use, and whether what came of it entered the archive."""
        for table in (self._uses, self._successes):
            for known in table:
                table[known] *= DECAY
        self._uses[text] = self._uses.get(text, 0.0) + 1
        self._successes[text] = self._successes.get(text, 0.0) + accepted

    def credit(self, text: str) -> float:
        """The discounted share of its uses that entered the archive; 0 before its first use."""
        uses = self._uses.get(text, 0.0)
        return self._successes[text] / uses if uses else 0.0

    def pick(self, among: Sequence[Variation], chance: random.Random) -> Variation:
        """The one of largest credit plus exploration; untried ones first, drawn at random."""
        untried = [v for v in among if v.text not in self._uses]
        if untried:
            return chance.choice(untried)
        total = math.log(max(1.0, sum(self._uses.values())))

        def bound(variation: Variation) -> float:
            uses = self._uses[variation.text]
            return self.credit(variation.text) + EXPLORATION * math.sqrt(total / uses)

        best = max(map(bound, among))
        return chance.choice([v for v in among if bound(v) == best])


def one_sentence(reply: str) -> str:
    """The first sentence of prose in `reply`, plain and bounded; empty where there is none.

    Fenced blocks, markup, quotes, lists, links and everything after the first sentence are left
    out.
    """
    text = re.sub(r"```.*?(?:```|\Z)", " ", reply, flags=re.DOTALL)
    for line in text.splitlines():
        words = re.sub(r"^\s*(?:[-*+>#]+|\d+[.)])\s+", "", line)
        words = re.sub(r"[`*_#<>\[\]{}|\\\"“”]|https?://\S*", "", words)
        words = " ".join("".join(c for c in words if c.isprintable()).split())
        if len(words.split()) < 3 or words.endswith(":"):
            continue  # a heading, or what introduces the answer
        first = re.match(r".*?[.!?](?=\s|$)", words)
        sentence = first[0] if first else f"{words}."
        return sentence if len(sentence) <= MOST_OF_VARIATION else ""
    return ""

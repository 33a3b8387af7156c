"""The table of benchmarks/fidelity.py: how many pairs agree, and why each other one does not."""

from __future__ import annotations

import json
import lzma
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkgen.record import Status

#: Nothing came to run, which is no verdict on what would have.
_UNJUDGED = (
    "declined", Status.COMPILE_FAILED, Status.NO_TOOLCHAIN, Status.UNSUPPORTED, Status.OVER_LIMIT,
    Status.INTERNAL_ERROR, Status.BAD_TASK, Status.ILL_CONDITIONED,
)  # fmt: skip
RACE = "A race by construction that this GPU did not lose: a barrier was removed"
_GPU_ONLY = "Caught on the GPU only"
_TILE = "A shared tile is written one beyond its end: what lies there is the compiler's choice"
_UNEXPLAINED = "Not explained"
#: Words of the verdict without a device -> what kind of fault it was, in this order.
_FAULTS = (
    ("out-of-bounds write", "A write beside a buffer"),
    ("wrote out of bounds", "A write beside a buffer"),
    ("order 'fenced'", "An access beside a buffer that only a page that faults shows"),
    ("got nan", "A value that is NaN without a device: unwritten, or read beside a buffer"),
    ("whose role is", "A write beside a buffer that landed in an input"),
    ("other bits", "Other bits in another run"),
)


def lines(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Every line of the files, packed or not."""
    for path in paths:
        with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as file:
            yield from map(json.loads, file)


def verdict(found: dict[str, Any]) -> str:
    """right, wrong, or nothing where no program came to run."""
    status = found["status"]
    # Pallas' compilers see a text first when it is run
    if status in _UNJUDGED or (status == Status.CRASHED and ": refused:" in found["message"]):
        return ""
    return "right" if status == Status.PASS else "wrong"


@dataclass(frozen=True)
class Pair:
    """Both verdicts on one text at one size."""

    line: dict[str, Any]
    host: dict[str, Any]
    device: dict[str, Any]

    @property
    def judged(self) -> bool:
        """Whether something ran on both sides."""
        return bool(verdict(self.host) and verdict(self.device))

    @property
    def agrees(self) -> bool:
        """Whether both say the same of it."""
        return verdict(self.host) == verdict(self.device)

    @property
    def race(self) -> bool:
        """Whether it is a race by construction."""
        return bool(self.line["race"])

    @property
    def why(self) -> str:
        """Of a pair that differs: what kind of disagreement it is."""
        if self.race:
            return RACE
        if verdict(self.device) == "wrong":
            return _GPU_ONLY
        if re.search(r"=> .*< TILE_\w+ \* TILE_\w+ \+ 1", self.line["told"]):
            return _TILE
        told = self.host["message"]
        return next((why for words, why in _FAULTS if words in told), _UNEXPLAINED)

    def told(self) -> str:
        """One line of Markdown."""
        here, there = self.host, self.device
        return (
            f"- {self.line['key']}: without a device {here['status']} ({here['message'][:160]}); "
            f"on the GPU {there['status']} ({there['message'][:160]})\n"
        )


def pairs(given: Iterable[dict[str, Any]]) -> list[Pair]:
    """Verdicts without a device beside those on one, which a line may have both or one of.

    They belong together by their key. ValueError where the texts differ.
    """
    cases: list[dict[str, Any]] = []
    devices: dict[str, dict[str, Any]] = {}
    for line in given:
        if "host" in line:
            cases.append(line)
        else:
            devices[line["key"]] = line
    found = []
    for line in cases:
        there = line if "device" in line else devices.get(line["key"])
        if there is None:
            continue
        if there["text_sha"] != line["text_sha"]:
            raise ValueError(f"{line['key']}: another text ran on the device")
        found.append(Pair(line, line["host"], there["device"]))
    return found


def table(found: list[Pair]) -> str:
    """Markdown: counts, both shares of agreement, and every pair that differs or was not judged."""
    judged = [p for p in found if p.judged]
    differing = [p for p in judged if not p.agrees]
    text = [*_counts(found), "\n", *_shares(judged, differing)]
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in differing:
        groups[pair.why].append(pair)
    for why, members in sorted(groups.items(), key=lambda g: -len(g[1])):
        text.append(f"\n## {why} ({len(members)})\n\n")
        text += [pair.told() for pair in members]
    left = [p for p in found if not p.judged]
    text.append(f"\n## Not judged: nothing ran on one side ({len(left)})\n\n")
    return "".join([*text, *(pair.told() for pair in left)])


def _counts(found: list[Pair]) -> list[str]:
    counts: Counter[tuple[str, str, str]] = Counter()
    for pair in found:
        cell = (pair.line["backend"], pair.line["kind"])
        if not pair.judged:
            counts[(*cell, "unjudged")] += 1
            continue
        counts[(*cell, "pairs")] += 1
        counts[(*cell, verdict(pair.host))] += 1
        counts[(*cell, "differ")] += not pair.agrees
        counts[(*cell, "races")] += pair.race
    columns = ("pairs", "right", "wrong", "differ", "races", "unjudged")
    head = "| backend | texts | pairs | right | wrong | differ | of the pairs, races | not judged |"
    rows = [f"{head}\n", "|---" * 8 + "|\n"]
    for cell in sorted({key[:2] for key in counts}):
        row = " | ".join(str(counts[(*cell, column)]) for column in columns)
        rows.append(f"| {cell[0]} | {cell[1]} | {row} |\n")
    return rows


def _shares(judged: list[Pair], differing: list[Pair]) -> list[str]:
    def share(all_of: int, apart: int) -> str:
        return f"{1 - apart / all_of:.2%}" if all_of else "none of none"

    total, apart = len(judged), len(differing)
    races = [p for p in judged if p.race]
    lost = sum(not p.agrees for p in races)
    same = "all of the same text, by its hash, and the same sizes and inputs"
    return [
        f"{total} pairs, {same}: {total - apart} agree, {share(total, apart)}.\n",
        f"{len(races)} are races by construction, of which {lost} differ; without all of these "
        f"{total - len(races) - (apart - lost)} of {total - len(races)} agree, "
        f"{share(total - len(races), apart - lost)}.\n",
    ]

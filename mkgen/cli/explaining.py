"""What the static model says of a kernel's candidates, and why most of them lose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mkgen.cli.present import say, table
from mkgen.codegen.candidate import Generator
from mkgen.tune.space import KernelSpace, Point, ruled_out

SHOWN = 10


def explain(generator: Generator, spaces: Sequence[KernelSpace]) -> None:
    """Prints the ten best candidates of each kernel by the model, and what became of the rest."""
    for space in spaces:
        best = space.points[0]
        heads = ("parameters", "template", "model (ms)", "bound", "against the best", "why")
        rows = [
            [_values(p), p.pick[0].name, f"{p.estimate.seconds * 1e3:.4g}", p.estimate.bound,
             f"{p.estimate.seconds / best.estimate.seconds:.2f}x",
             p.estimate.reason if p is best else difference(p, best)]
            for p in space.points[:SHOWN]
        ]  # fmt: skip
        title = f"{space.kernel.name} ({space.kernel.kind}): the model's estimates, not measured"
        table(heads, rows, title)
        for line in the_rest(generator, space):
            say(f"  {line}")


def the_rest(generator: Generator, space: KernelSpace) -> list[str]:
    """One line for each reason why a candidate is not in the table, with how many share it."""
    best, rest = space.points[0], space.points[SHOWN:]
    lines = []
    if rest:
        slowest = rest[-1].estimate.seconds / best.estimate.seconds
        least = rest[0].estimate.seconds / best.estimate.seconds
        bounds = Counter(p.estimate.bound for p in rest)
        shares = ", ".join(f"{n} {bound}-bound" for bound, n in bounds.most_common())
        lines.append(
            f"{len(rest)} more: {least:.2f}x to {slowest:.2f}x the best's estimate ({shares}); "
            f"the last: {_values(rest[-1])}, {difference(rest[-1], best)}"
        )
    lines += [f"{n} left out: {why}" for why, n in space.dropped.items()]
    for why, count in ruled_out(generator, space.kernel).items():
        lines.append(f"{count} not legal: {why}")
    return lines


def difference(point: Point, best: Point) -> str:
    """What the estimate of a point says that the best's does not."""
    theirs = best.estimate.reason.split(", ")
    own = [part for part in point.estimate.reason.split(", ") if part not in theirs]
    return ", ".join(own) or "as the best"


def rows_of(spaces: Sequence[KernelSpace]) -> list[dict[str, Any]]:
    """The candidates of every kernel as data, best first; `model_seconds` is an estimate."""
    return [
        {
            "kernel": space.kernel.name,
            "template": point.pick[0].name,
            "parameters": dict(point.pick[1]),
            "model_seconds": point.estimate.seconds,
            "bound": point.estimate.bound,
            "reason": point.estimate.reason,
        }
        for space in spaces
        for point in space.points[:SHOWN]
    ]


def _values(point: Point) -> str:
    return " ".join(f"{k}={v}" for k, v in point.pick[1].items()) or "none"

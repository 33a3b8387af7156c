"""Tunes a list of tasks on this machine's device, within one budget.

    python benchmarks/tune_device.py --out DIR --budget 500 --tasks softmax matmul relu

Writes DIR/trials.jsonl (every measurement, at once), DIR/winners/ (for MKGEN_WINNERS, or to be
shipped in hardware_profiles/winners/) and DIR/table.md. What is left of the budget is shared
evenly by the searches still to come; the same command again goes on where this one ended.
Several shards may run at once, each into its own DIR: they time one at a time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from mkgen.codegen.candidate import Generator, scales
from mkgen.codegen.registry import backend_named
from mkgen.errors import MkgenError
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings
from mkgen.files import atomic_write
from mkgen.target import Target
from mkgen.task import find_task
from mkgen.tune.journal import Journal
from mkgen.tune.search import STRATEGIES
from mkgen.tune.tuning import Effort, Tuned, tune
from mkgen.tune.winners import Winners

TARGETS = ("cuda:sm_90a@h200", "triton:sm_90@h200")
HEADS = "| task | target | best | median | model's first | trials | state |\n" + "|---" * 7 + "|\n"


@dataclass(frozen=True)
class Row:
    """One search: what came of it, or why nothing did."""

    task: str
    target: str
    tuned: Tuned | None
    fault: str
    seconds: float

    def text(self) -> str:
        """The row of the table; every time in it was measured."""
        if self.tuned is None or self.tuned.winner is None:
            why = self.fault or "nothing right was measured in time"
            return f"| {self.task} | {self.target} | - | - | - | - | {why[:160]} |\n"
        winner = self.tuned.winner
        values = " ".join(f"{k}={v}" for k, v in winner.parameters.items())
        first = next((t for t in self.tuned.trials if t.seconds), None)
        before = f"{statistics.median(first.seconds) * 1e6:.1f} us" if first else "-"
        state = "complete" if self.tuned.complete else "cut short"
        return (
            f"| {self.task} | {self.target} | {values} | {winner.seconds * 1e6:.1f} us | {before} "
            f"| {winner.trials} of {winner.legal} | {state}, {self.seconds:.0f} s |\n"
        )


def one(
    name: str, target: Target, workers: Workers, options: argparse.Namespace, end: float
) -> Row:
    """Tunes one task on one target until `end`; a fault is a row too."""
    out: Path = options.out
    settings = Settings(
        Judge(scales, seed=options.seed), CompileCache(), device=True, run_timeout=60.0
    )
    started = time.monotonic()
    journal = Journal(out / "trials.jsonl")
    tuned: Tuned | None = None
    fault = ""
    try:
        generator = Generator(find_task(name), backend_named(target.backend), target)
        assert generator.kernels  # importing PyTorch and lowering take their time too
        left = max(0.0, end - time.monotonic())
        effort = Effort(options.trials, left, options.seed, options.strategy)
        tuned = tune(generator, workers, settings, effort, journal, Winners(out / "winners"))
    except MkgenError as error:
        fault = " ".join(str(error).split())
    except Exception as error:  # the other searches must go on; the fault is in the table
        fault = f"{type(error).__name__}: {error}"
    finally:
        journal.close()
    return Row(name, str(target), tuned, fault, time.monotonic() - started)


def main() -> None:
    """Tunes every task on every target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, required=True, help="seconds for all of it")
    parser.add_argument("--tasks", nargs="+", required=True)
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument(
        "--shard", default="0/1", help="I/N: every N-th task from the I-th on, in N processes"
    )
    parser.add_argument("--trials", type=int, help="candidates of one search at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strategy", choices=list(STRATEGIES), default="guided")
    parser.add_argument("-j", "--jobs", type=int, default=8, help="compilers at a time")
    options = parser.parse_args()
    end = time.monotonic() + options.budget
    first, step = (int(part) for part in options.shard.split("/"))
    tasks = options.tasks[first::step]
    pairs = [(name, Target.parse(t)) for name in tasks for t in options.targets]
    rows: list[Row] = []
    with Workers(options.jobs) as workers:
        for number, (name, target) in enumerate(pairs):
            share = (end - time.monotonic()) / (len(pairs) - number)
            if share <= 0:
                rows.append(Row(name, str(target), None, "the budget was spent before it", 0.0))
                continue
            rows.append(one(name, target, workers, options, time.monotonic() + share))
            print(rows[-1].text(), end="", flush=True)
            text = HEADS + "".join(row.text() for row in rows)
            atomic_write(options.out / "table.md", text)


if __name__ == "__main__":
    main()

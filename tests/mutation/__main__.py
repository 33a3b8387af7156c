"""`python -m tests.mutation --seed 7 --count 560 --jobs 2`: the tables of docs/mutation.md."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mkgen.codegen.candidate import lowered
from mkgen.evaluate.pool import Workers
from mkgen.task import find_task

from .mutant import BACKENDS, Mutant, draw
from .run import Fate, Lab, Line, read_lines, score, summary, table


def main() -> int:
    """Exit code 0 when at least 97 % are killed and every survivor is shown equivalent."""
    options = _options()
    backends = tuple(options.backend or BACKENDS)
    done = {line.key: line for line in read_lines(options.results)}
    started = time.monotonic()
    drawn = draw(options.seed, options.count, options.per_cell, backends, options.match)
    cells = [[m for m in cell if m.key not in done] for cell in drawn]
    chosen = [m for cell in cells for m in cell]
    print(f"seed {options.seed}: {len(chosen)} to run, {len(done)} known", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="mkgen-mutants-") as scratch:
        # builds of wrong programs do not belong in the user's cache
        os.environ["MKGEN_CACHE"] = scratch
        with Workers(options.jobs) as workers, ThreadPoolExecutor(options.jobs) as threads:
            lab = Lab(workers, Path(scratch))
            until = started + options.minutes * 60
            book = _Book(options.results, done)
            list(threads.map(lambda cell: _run(lab, cell, until, book), cells))
    lines = list(done.values())
    got = score(lines)
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    print(table(lines, backends))
    print(f"\nseed {options.seed}: {summary(lines)}")
    return 0 if not got.survivors and not got.unjudged and got.sharp_rate >= 0.97 else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--count", type=int, default=560, help="mutants drawn")
    parser.add_argument("--per-cell", type=int, default=6, help="of one task on one backend")
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="default: all six")
    parser.add_argument("--match", default="", help="only mutants whose task or text holds this")
    parser.add_argument("--jobs", type=int, default=2, help="cells at once")
    parser.add_argument("--minutes", type=float, default=600.0, help="start no mutant after these")
    parser.add_argument(
        "--results", type=Path, help="JSON lines, kept and added to: an ended run goes on from here"
    )
    return parser.parse_args()


class _Book:
    """What is known; each result is written down as soon as it is there."""

    def __init__(self, path: Path | None, lines: dict[tuple[str, str, str], Line]) -> None:
        self._path, self._lines = path, lines
        self._lock = threading.Lock()

    def add(self, line: Line) -> None:
        """Keeps and tells `line`."""
        with self._lock:
            self._lines[line.key] = line
            if self._path:
                with self._path.open("a") as file:
                    file.write(json.dumps(line.document()) + "\n")
            fate = line.fate.value if line.fate is not Fate.SURVIVED else "SURVIVED"
            told = f"{fate} {' | '.join(line.key)} [{line.status} {line.where}]"
            print(f"{told} {line.seconds:.0f} s", file=sys.stderr, flush=True)


def _run(lab: Lab, cell: Iterable[Mutant], until: float, book: _Book) -> None:
    for mutant in cell:
        if time.monotonic() > until:
            return
        lowered(find_task(mutant.task.name))
        begun = time.monotonic()
        book.add(Line.of(lab.judge(mutant), time.monotonic() - begun))


if __name__ == "__main__":
    sys.exit(main())

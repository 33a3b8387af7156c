"""`python -m tests.mutation --seed 7 --per-kind 4`: the table of docs/mutation.md."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from mkgen.evaluate.pool import Workers

from .mutant import BACKENDS, every_mutant, sample
from .run import Fate, Lab, Result, run, score, table


def main() -> int:
    """Exit code 0 when at least 95 % are killed and every survivor is shown equivalent."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--per-kind", type=int, default=4, help="mutants per kind and backend")
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="default: all six")
    parser.add_argument("--match", default="", help="only mutants whose task or text holds this")
    parser.add_argument("--json", type=Path, help="also write every result to this file")
    options = parser.parse_args()
    backends = tuple(options.backend or BACKENDS)
    pool = list(every_mutant(backends))
    kept = [m for m in pool if options.match in " ".join(m.key)]
    chosen = sample(kept, options.seed, options.per_kind)
    print(f"seed {options.seed}: {len(chosen)} of {len(pool)} mutants", file=sys.stderr)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mkgen-mutants-") as scratch:
        # builds of wrong programs do not belong in the user's cache
        os.environ["MKGEN_CACHE"] = scratch
        with Workers() as workers:
            results = run(Lab(workers, Path(scratch)), chosen, _tell)
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps([_plain(r) for r in results], indent=1) + "\n")
    got = score(results)
    print(table(results, backends))
    print(
        f"\nseed {options.seed}: {got.made} made, {got.no_program} compile-failed, {got.killed} "
        f"killed, {got.equivalent} equivalent, {got.blind} blind, "
        f"{len(got.survivors)} unexplained; "
        f"killed {got.rate:.1%} of all programs, {got.sharp_rate:.1%} of those not equivalent"
    )
    return 0 if not got.survivors and got.sharp_rate >= 0.95 else 1


def _tell(result: Result) -> None:
    task, backend, description = result.mutant.key
    mark = {Fate.KILLED: "killed  ", Fate.SURVIVED: "SURVIVED", Fate.NO_PROGRAM: "no program"}
    told = f"{mark[result.fate]} {backend} {task} {description} [{result.status} {result.where}]"
    print(told, file=sys.stderr, flush=True)


def _plain(result: Result) -> dict[str, str]:
    task, backend, description = result.mutant.key
    return {
        "backend": backend, "task": task, "mutation": description, "fate": result.fate.value,
        "status": result.status.value, "where": result.where, "reason": result.reason[:300],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

"""Runs of `mkgen eval` as a Markdown table: one row per task, one column per target.

    python benchmarks/run_table.py runs/latest [RUN...] > table.md

A cell is the largest share of the error budget that anything in these runs used, or the status
where one is not `pass`.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path

from mkgen.evaluate.store import read_lines
from mkgen.record import Record, Status


def cell(records: list[Record]) -> str:
    """What the table says of one pair."""
    if not records:
        return "-"
    for record in records:
        if record.status is not Status.PASS:
            return record.status.value
    shares = [r.error.share for r in records if r.error]
    return f"{max(shares):.2f}" if shares else "exact"


def main() -> int:
    """Prints the table; 1 when something in it did not pass."""
    records = [r for run in sys.argv[1:] for r in read_lines(Path(run) / "records.jsonl")]
    targets = sorted({str(r.target) for r in records})
    found: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        found[record.task, str(record.target)].append(record)
    print(f"| task | {' | '.join(targets)} |\n|---{'|---' * len(targets)}|")
    for task in sorted({r.task for r in records}):
        print(f"| {task} | {' | '.join(cell(found[task, t]) for t in targets)} |")
    ends = Counter(r.status.value for r in records)
    told = ", ".join(f"{count} {status}" for status, count in sorted(ends.items()))
    print(f"\n{len(records)} records: {told}.")
    return int(any(r.status is not Status.PASS for r in records))


if __name__ == "__main__":
    raise SystemExit(main())

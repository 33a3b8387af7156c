"""A run of `mkgen eval` as a Markdown table: one row per task, one column per target.

    python benchmarks/run_table.py runs/latest > table.md

A cell is the largest share of the error budget that any run used, or the status where it is not
`pass`.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from mkgen.evaluate.store import read_lines
from mkgen.record import Record, Status


def cell(record: Record | None) -> str:
    """What the table says of one pair."""
    if record is None:
        return "-"
    if record.status is not Status.PASS:
        return record.status.value
    return f"{record.error.share:.2f}" if record.error else "exact"


def main() -> int:
    """Prints the table; 1 when something in it did not pass."""
    records = read_lines(Path(sys.argv[1]) / "records.jsonl")
    targets = sorted({str(r.target) for r in records})
    found = {(r.task, str(r.target)): r for r in records}
    print(f"| task | {' | '.join(targets)} |\n|---{'|---' * len(targets)}|")
    for task in sorted({r.task for r in records}):
        print(f"| {task} | {' | '.join(cell(found.get((task, t))) for t in targets)} |")
    ends = Counter(r.status.value for r in records)
    told = ", ".join(f"{count} {status}" for status, count in sorted(ends.items()))
    print(f"\n{len(records)} pairs: {told}.")
    return int(any(r.status is not Status.PASS for r in records))


if __name__ == "__main__":
    raise SystemExit(main())

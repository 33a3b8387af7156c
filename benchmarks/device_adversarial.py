"""ModelNew files that cheat, on one NVIDIA GPU: the status that each must end with, and did.

    python benchmarks/device_adversarial.py [--out FILE] [--limit SECONDS] [--budget SECONDS]

Every file of tests/adversarial/modules is judged twice: as anybody's text, and without tripwires,
as if they had been got around; an honest file must pass and be timed beside eager PyTorch. A row is
printed as soon as it is known. Ends with 1 when a status is another than expected or a file took
longer than its limit, with 4 when the budget ended first.

Each file that runs has a child of its own, which starts CUDA, its profiler and Triton's compiler
anew (its cache is dropped with it): most of the seconds of a row are that. KernelBench's three
come first, so that a run that is cut off has judged those.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "backends"), str(ROOT / "tests")]

from module_support import MODULES, NORM, SETTINGS, SOFTMAX, judge  # noqa: E402

from mkgen.evaluate.pool import Workers  # noqa: E402
from mkgen.record import EvidenceKind, Status  # noqa: E402
from mkgen_triton.device import device_arch  # noqa: E402

#: File -> status with tripwires, status without; in the order in which they are judged.
EXPECTED = {
    "result_reuse": (Status.WRONG_OUTPUT, Status.WRONG_OUTPUT),
    "input_zeroing": (Status.INPUT_CHANGED, Status.INPUT_CHANGED),
    "side_stream": (Status.REFUSED, Status.REFUSED),
    "result_reuse_no_kernel": (Status.REFUSED, Status.REFUSED),
    "fallback": (Status.REFUSED, Status.REFUSED),
    "subclass": (Status.REFUSED, Status.REFUSED),
    "library": (Status.REFUSED, Status.REFUSED),
    "forgotten_parameters": (Status.REFUSED, Status.REFUSED),
}
FIRST = 3
"""How many of them go before everything else."""
HONEST = ROOT / "tests" / "data" / "native" / "softmax_module.py"
HEAD = "| file | run | expected | seen | s | reason |\n|---|---|---|---|---|---|"


class OutOfTime(BaseException):
    """A file took longer than it may; no Exception, of which the protocol would make a record."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Ends what is inside after `seconds` by OutOfTime; the main thread only."""

    def over(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def work() -> list[tuple[Path, bool, Status]]:
    """File, whether tripwires look at it, and how it must end: in order of judgement."""
    names = list(EXPECTED)

    def rows(some: list[str], wires: bool) -> list[tuple[Path, bool, Status]]:
        return [(MODULES / f"{n}.py", wires, EXPECTED[n][0 if wires else 1]) for n in some]

    first, others = names[:FIRST], names[FIRST:]
    todo = [*rows(first, True), *rows(first, False), (HONEST, True, Status.PASS)]
    return [*todo, *rows(others, True), *rows(others, False), (HONEST, False, Status.PASS)]


def row(
    file: Path, wires: bool, expected: Status, target: str, workers: Workers, limit: float
) -> tuple[str, bool]:
    """The table's line for one file, and whether it ended as it must within `limit` seconds."""
    settings = replace(
        SETTINGS, device=True, emulate=False, require=(EvidenceKind.DEVICE, EvidenceKind.TIMED),
        samples=20, timing_seconds=5.0, compare=("eager",), run_timeout=limit,
        compile_timeout=limit,
    )  # fmt: skip
    task = NORM if file.stem == "forgotten_parameters" else SOFTMAX
    started = time.monotonic()
    try:
        with limited(limit):
            record = judge(file, task, target, workers, wires=wires, settings=settings)
        timed = [e.detail for e in record.evidence if e.kind is EvidenceKind.TIMED]
        seen, reason = record.status.value, record.reason or "; ".join(timed)
        right = record.status is expected and bool(timed) == (expected is Status.PASS)
    except OutOfTime:
        seen, reason, right = "no verdict", f"more than {limit:.0f} s", False
    seconds = time.monotonic() - started
    told = reason.replace("|", "/")[:160]
    way = "with tripwires" if wires else "without"
    return f"| {file.stem} | {way} | {expected} | {seen} | {seconds:.1f} | {told} |", right


def main() -> int:
    """Runs everything; prints and writes each line of the table as it is known."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, help="where the table is written as well")
    options.add_argument("--limit", type=float, default=90.0, help="seconds of one file")
    options.add_argument("--budget", type=float, default=1e9, help="seconds of all")
    given = options.parse_args()
    started = time.monotonic()
    arch = device_arch()
    if arch is None:
        print("PyTorch sees no GPU here", file=sys.stderr)
        return 3
    if (files := {f.stem for f in MODULES.glob("*.py")}) != EXPECTED.keys():
        print(f"not expected here: {sorted(files ^ EXPECTED.keys())}", file=sys.stderr)
        return 2
    lines, failed = [HEAD], 0
    print(HEAD, flush=True)
    with Workers(1) as workers:
        for file, wires, expected in work():
            left = given.budget - (time.monotonic() - started)
            if left <= 0:
                print(f"stopped after {given.budget:.0f} s, before {file.stem}", flush=True)
                return 4
            limit = min(given.limit, left)
            line, right = row(file, wires, expected, f"triton:{arch}", workers, limit)
            failed += not right
            lines.append(line)
            print(line, flush=True)
            if given.out:
                given.out.write_text("\n".join(lines) + "\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

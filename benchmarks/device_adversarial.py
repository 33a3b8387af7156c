"""ModelNew files that cheat, on one NVIDIA GPU: the status that each must end with, and did.

    python benchmarks/device_adversarial.py [--out FILE]

Every file of tests/adversarial/modules is judged twice: as anybody's text, and without tripwires,
as if they had been got around. An honest file is timed beside eager PyTorch. Each line is printed
and written when it is known. Ends with 1 when a status is another than expected, one of them
passes, or the honest file is not timed.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "backends"), str(ROOT / "tests")]

from module_support import MODULES, NORM, SETTINGS, SOFTMAX, judge  # noqa: E402

from mkgen.evaluate.pool import Workers  # noqa: E402
from mkgen.evaluate.protocol import Settings  # noqa: E402
from mkgen.record import EvidenceKind, Status  # noqa: E402
from mkgen_triton.device import device_arch  # noqa: E402

#: File -> status with tripwires, status without.
EXPECTED = {
    "result_reuse": (Status.WRONG_OUTPUT, Status.WRONG_OUTPUT),
    "result_reuse_no_kernel": (Status.REFUSED, Status.REFUSED),
    "input_zeroing": (Status.INPUT_CHANGED, Status.INPUT_CHANGED),
    "side_stream": (Status.REFUSED, Status.REFUSED),
    "fallback": (Status.REFUSED, Status.REFUSED),
    "subclass": (Status.REFUSED, Status.REFUSED),
    "library": (Status.REFUSED, Status.REFUSED),
    "forgotten_parameters": (Status.REFUSED, Status.REFUSED),
}
HONEST = ROOT / "tests" / "data" / "native" / "softmax_module.py"
HEAD = ("| file | run | expected | seen | s | told |", "|---|---|---|---|---|---|")


def row(
    file: Path, expected: Status, arch: str, workers: Workers, settings: Settings, *, wires: bool
) -> tuple[bool, str]:
    """Whether `file` ended as it must, and its line of the table."""
    started = time.monotonic()
    task = NORM if file.stem == "forgotten_parameters" else SOFTMAX
    record = judge(file, task, f"triton:{arch}", workers, wires=wires, settings=settings)
    timed = [e.detail for e in record.evidence if e.kind is EvidenceKind.TIMED]
    right = record.status is expected and bool(timed) == (expected is Status.PASS)
    told = (record.reason or "; ".join(timed) or "not timed").replace("|", "/")[:200]
    way = "with tripwires" if wires else "without"
    seconds = time.monotonic() - started
    seen = record.status if right else f"{record.status}, WRONG"
    return right, f"| {file.stem} | {way} | {expected} | {seen} | {seconds:.1f} | {told} |"


def main() -> int:
    """Runs everything; prints and writes the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, help="where the table is written as well")
    given = options.parse_args()
    arch = device_arch()
    if arch is None:
        print("PyTorch sees no GPU here", file=sys.stderr)
        return 3
    files = {f.stem: f for f in sorted(MODULES.glob("*.py"))}
    if files.keys() != EXPECTED.keys():
        print(f"not expected here: {sorted(files.keys() ^ EXPECTED.keys())}", file=sys.stderr)
        return 2
    settings = replace(
        SETTINGS, device=True, emulate=False, require=(EvidenceKind.DEVICE, EvidenceKind.TIMED),
        samples=20, timing_seconds=5.0, compare=("eager",),
    )  # fmt: skip
    lines = list(HEAD)
    print("\n".join(lines), flush=True)
    wrong = 0
    with Workers(1) as workers:
        for wires in (True, False):
            todo = [(HONEST, Status.PASS)]
            todo += [(file, EXPECTED[name][0 if wires else 1]) for name, file in files.items()]
            for file, expected in todo:
                right, line = row(file, expected, arch, workers, settings, wires=wires)
                wrong += not right
                lines.append(line)
                print(line, flush=True)
                if given.out:
                    given.out.write_text("\n".join(lines) + "\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

"""ModelNew files that cheat, on one NVIDIA GPU: the status that each must end with, and did.

    python benchmarks/device_adversarial.py [--out FILE]

Every file of tests/adversarial/modules is judged twice: as anybody's text, and without tripwires,
as if they had been got around. Ends with 1 when a status is another than expected or one passes.
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


def main() -> int:
    """Runs everything; prints and writes the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, help="where the table is written as well")
    given = options.parse_args()
    arch = device_arch()
    if arch is None:
        print("PyTorch sees no GPU here", file=sys.stderr)
        return 3
    settings = replace(
        SETTINGS, device=True, emulate=False, require=(EvidenceKind.DEVICE,), samples=20
    )
    rows: list[tuple[str, str, Status, Status, float, str]] = []
    files = {f.stem: f for f in sorted(MODULES.glob("*.py"))}
    if files.keys() != EXPECTED.keys():
        print(f"not expected here: {sorted(files.keys() ^ EXPECTED.keys())}", file=sys.stderr)
        return 2
    with Workers(1) as workers:
        for wires in (True, False):
            todo = [(HONEST, Status.PASS)]
            todo += [(file, EXPECTED[name][0 if wires else 1]) for name, file in files.items()]
            for file, expected in todo:
                started = time.monotonic()
                task = NORM if file.stem == "forgotten_parameters" else SOFTMAX
                record = judge(
                    file, task, f"triton:{arch}", workers, wires=wires, settings=settings
                )
                seconds = time.monotonic() - started
                way = "with tripwires" if wires else "without"
                row = (file.stem, way, expected, record.status, seconds, record.reason)
                rows.append(row)
    lines = ["| file | run | expected | seen | s | reason |", "|---|---|---|---|---|---|"]
    for name, way, expected, seen, seconds, reason in rows:
        told = reason.replace("|", "/")[:160]
        lines.append(f"| {name} | {way} | {expected} | {seen} | {seconds:.1f} | {told} |")
    table = "\n".join(lines) + "\n"
    print(table)
    if given.out:
        given.out.write_text(table)
    return int(any(expected is not seen for _, _, expected, seen, _, _ in rows))


if __name__ == "__main__":
    sys.exit(main())

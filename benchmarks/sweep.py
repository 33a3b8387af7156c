"""Times every legal parameter set of one task on one target: what the model missed.

    python benchmarks/sweep.py --task relu --target cuda:sm_90a@h200 --out FILE

Nothing is checked for being right here: device_matrix.py does that. Each line of FILE is one set.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from mkgen.codegen.candidate import Generator
from mkgen.codegen.registry import backend_named
from mkgen.errors import MkgenError
from mkgen.evaluate.inputs import draw
from mkgen.target import Target
from mkgen.task import find_task
from mkgen.tune.model import estimate


def main() -> None:
    """Sweeps one task on one target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=10**6, help="how many sets, evenly spread")
    options = parser.parse_args()
    task, target = find_task(options.task), Target.parse(options.target)
    backend = backend_named(target.backend)
    executor = next(e for e in backend.executors() if e.role == "device")
    generator = Generator(task, backend, target)
    inputs = draw(task, generator.workload, 0)
    candidates = list(generator.candidates())
    rows = []
    for candidate in candidates[:: max(1, len(candidates) // options.limit)]:
        program = candidate.program(generator.workload)
        with tempfile.TemporaryDirectory() as directory:
            try:
                artifact = backend.compile(program, Path(directory))
                guess = estimate(generator, candidate, program, artifact)
                loaded = executor.load(program, artifact, Path(directory))
                seconds = statistics.median(loaded.time(inputs, 7))
                loaded.close()
            except MkgenError as error:
                print(candidate.request.parameters, str(error)[:200])
                continue
        rows.append({"parameters": candidate.request.parameters, "seconds": seconds,
                     "estimate": guess.seconds})  # fmt: skip
    rows.sort(key=lambda r: r["seconds"])
    options.out.write_text("".join(json.dumps(r) + "\n" for r in rows))
    for shown in (*rows[:6], *rows[-2:]):
        print(task.name, target, json.dumps(shown), flush=True)


if __name__ == "__main__":
    main()

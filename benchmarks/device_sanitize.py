"""compute-sanitizer on one NVIDIA GPU: planted faults, and templates in which there are none.

    python benchmarks/device_sanitize.py --out DIR [--target cuda:sm_90] [--task T ...]

Writes DIR/table.md, and one line per run to stdout. Each tool runs in a process of its own, some
ten seconds long. Ends with 1 when a fault was missed, its line is wrong, or a template has one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from sanitizer_programs import faulty_program, faulty_text, inputs_for, line_of

from mkgen.codegen.candidate import Generator
from mkgen.codegen.registry import backend_named
from mkgen.errors import MkgenError, SanitizerError
from mkgen.evaluate.inputs import draw, reference_call
from mkgen.evaluate.sanitizing import sanitized_sizes
from mkgen.program import GIVEN, Program
from mkgen.target import Target
from mkgen.task import find_task
from mkgen.tune.choose import rank
from mkgen_cuda.compute_sanitizer import TOOLS, ComputeSanitizerExecutor

#: Fault of tests/sanitizer_programs.py -> the tool that must find it, with its line.
PLANTED = {
    "global after": "memcheck",
    "global before": "memcheck",
    "far": "memcheck",
    "dynamic after": "memcheck",
    "missing barrier": "racecheck",
    "missing barrier dynamic": "racecheck",
    "shuffle only": "racecheck",
    "unwritten global": "initcheck",
    "divergent barrier": "synccheck",
}
TASKS = ("relu", "softmax", "matmul", "layer_norm", "cumsum", "conv2d", "gru_2layer", "sum_reduce")

HEAD = ("| program | tool | must find | found | as it should | seconds |", "|---" * 6 + "|")

Run = tuple[str, str, str, Program, dict[str, np.ndarray]]


def planted(target: Target) -> Iterator[Run]:
    """(what, tool, expected line, program, inputs) of every fault, and of the clean cases."""
    program = faulty_program("cuda").model_copy(update={"target": target})
    text = faulty_text("cuda")
    for case, tool in PLANTED.items():
        yield case, tool, f"kernel.cu line {line_of(text, case)}", program, inputs_for(case)
    for case in ("clean", "clean order of blocks", "clean maximum"):
        for tool in TOOLS:
            yield case, tool, "", program, inputs_for(case)


def templates(names: tuple[str, ...], target: Target) -> Iterator[Run]:
    """The candidate that the model prefers of each task, at its smallest telling check size."""
    for name in names:
        task = find_task(name)
        candidate = rank(Generator(task, backend_named("cuda"), target))[0].candidate
        sizes = [(w, candidate.program(w)) for w in task.workloads()[1:]]
        workload, program = sanitized_sizes(sizes, trusted=True)[0]
        values = draw(task, workload, 0) | reference_call(task, workload.sizes).parameters
        inputs = {b.name: values[b.name] for b in program.with_role(*GIVEN)}
        for tool in TOOLS:
            yield name, tool, "", program, inputs


def one(run: Run) -> tuple[bool, str]:
    """Whether the run went as it should, and what was found."""
    _, tool, expected, program, inputs = run
    executor = ComputeSanitizerExecutor()
    reason = executor.accepts(program)
    if reason is not None:
        return False, f"declined: {reason}"
    with tempfile.TemporaryDirectory() as directory:
        try:
            executor.load(program, None, Path(directory)).run(inputs, tool)
        except SanitizerError as error:
            told = str(error)
            # of a race both lines are told
            number = expected.rpartition(" ")[2]
            right = told.startswith(expected) or (tool == "racecheck" and f":{number}" in told)
            return bool(expected) and right, told
        except MkgenError as error:
            return False, f"{type(error).__name__}: {error}"
    return not expected, "nothing"


def main() -> int:
    """Runs everything and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--target", default="cuda:sm_90")
    parser.add_argument("--task", action="append")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds after which to stop")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    target = Target.parse(options.target)
    rows, wrong, started = [], 0, time.monotonic()
    runs = [*planted(target), *templates(tuple(options.task or TASKS), target)]
    for run in runs:
        if time.monotonic() - started > options.budget:
            print(f"stopped after {len(rows)} of {len(runs)} runs")
            break
        begun = time.monotonic()
        good, told = one(run)
        wrong += not good
        seconds = time.monotonic() - begun
        rows.append(f"| {run[0]} | {run[1]} | {run[2] or 'nothing'} | {told} | "
                    f"{'yes' if good else 'NO'} | {seconds:.1f} |")  # fmt: skip
        print(rows[-1], flush=True)
        (options.out / "table.md").write_text("\n".join([*HEAD, *rows]) + "\n")
    print(f"{len(rows)} runs, {wrong} not as they should be, {time.monotonic() - started:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

"""compute-sanitizer on one NVIDIA GPU: planted faults, and templates in which there are none.

    python benchmarks/device_sanitize.py --out DIR [--target cuda:sm_90a] [--task T ...]
        [--through direct|worker] [--only planted|templates] [--budget SECONDS]

Every fault is looked for twice: by a direct call of the tool, and through mkgen's confined worker,
so that it shows which of the two does not work. Templates go through the worker. Writes
DIR/table.md, and everything that the tool printed to DIR/WAY/PROGRAM-TOOL.log; one line per run to
stdout as it ends. A run takes some ten seconds. Ends with 1 when a fault was missed, its line is
wrong, something clean has one, or the budget left anything out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from sanitizer_programs import faulty_program, faulty_text, inputs_for, line_of

from mkgen.codegen.candidate import Generator
from mkgen.codegen.registry import backend_named
from mkgen.errors import MkgenError, SanitizerError
from mkgen.evaluate.inputs import draw, reference_call
from mkgen.evaluate.jobs import Runner, accepts
from mkgen.evaluate.pool import Lease, Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.sanitizing import sanitized_sizes
from mkgen.program import GIVEN, Program
from mkgen.record import Status
from mkgen.target import Target
from mkgen.task import find_task
from mkgen.tune.choose import rank
from mkgen_cuda.compute_sanitizer import ComputeSanitizerExecutor
from mkgen_cuda.sanitizer_command import TOOLS, find_tool

#: Fault of tests/sanitizer_programs.py -> the tool that must find it, with its line.
PLANTED = {
    "global after": "memcheck",
    "global before": "memcheck",
    "far": "memcheck",
    "missing barrier": "racecheck",
    "missing barrier dynamic": "racecheck",
    "unwritten global": "initcheck",
    "divergent barrier": "synccheck",
}
#: What the tool may or may not see; it is told, and counts for nothing. Shared memory is given in
#: units that are larger than what is asked for; a shuffle may count as a barrier.
UNSURE = {"dynamic after": "memcheck", "shuffle only": "racecheck"}
CLEAN = ("clean", "clean order of blocks", "clean maximum")
TASKS = ("relu", "softmax", "matmul", "layer_norm", "cumsum", "conv2d", "gru_2layer", "sum_reduce")
WAYS = ("direct", "worker")
SECONDS = 180.0

HEAD = (
    "| program | through | tool | must find | found | as it should | seconds |", "|---" * 7 + "|",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One program under one tool."""

    what: str
    tool: str
    expected: str
    """How the finding begins; empty where there must be none."""
    program: Program
    inputs: dict[str, np.ndarray]
    sure: bool = True
    """Whether it counts what is found."""


@dataclass(frozen=True)
class Seen:
    """How a run ended."""

    found: str = ""
    """The finding."""
    failed: str = ""
    """Why there was no run."""
    log: str = ""
    """Everything that the tool printed."""


def planted(target: Target) -> Iterator[Run]:
    """Every fault, and the clean cases."""
    program = faulty_program("cuda").model_copy(update={"target": target})
    text = faulty_text("cuda")
    for case, tool in (PLANTED | UNSURE).items():
        expected = f"kernel.cu line {line_of(text, case)}"
        yield Run(case, tool, expected, program, inputs_for(case), case in PLANTED)
    for case in CLEAN:
        for tool in TOOLS:
            yield Run(case, tool, "", program, inputs_for(case))


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
            yield Run(name, tool, "", program, inputs)


def direct(run: Run) -> Seen:
    """The tool called from this process, which nothing confines."""
    executor = ComputeSanitizerExecutor()
    reason = executor.accepts(run.program)
    if reason is not None:
        return Seen(failed=f"declined: {reason}")
    with tempfile.TemporaryDirectory() as directory:
        kept = Path(directory, f"{run.tool}.log")
        try:
            executor.load(run.program, None, Path(directory)).run(run.inputs, run.tool)
        except SanitizerError as error:
            return Seen(found=str(error), log=kept.read_text())
        except MkgenError as error:
            log = kept.read_text() if kept.exists() else "\n".join(error.__notes__)
            return Seen(failed=f"{type(error).__name__}: {error}", log=log)
        return Seen(log=kept.read_text())


def through_worker(run: Run, lease: Lease, workers: Workers) -> Seen:
    """The same as a job of a device worker."""
    name = ComputeSanitizerExecutor.name
    runner = Runner(lease, workers.new_directory("arrays-"), name, run.program, None, run.inputs)
    try:
        reason = accepts(lease, name, run.program)
        if reason is not None:
            return Seen(failed=f"declined: {reason}")
        runner.run(run.tool, SECONDS)
        # TMPDIR of the worker, in which the program lies as long as it is loaded
        kept = lease.directory.glob(f"own/home/load-*/{run.tool}.log")
        newest = max(kept, key=lambda path: path.stat().st_mtime, default=None)
        return Seen(log=newest.read_text() if newest else "")
    except WorkerFailure as failure:
        if failure.status is Status.SANITIZER_FINDING:
            return Seen(found=failure.message, log=failure.log)
        return Seen(failed=f"{failure.status}: {failure.message}", log=failure.log)
    finally:
        runner.close()


def judged(run: Run, seen: Seen) -> tuple[bool, str]:
    """Whether the run went as it should, and what is told of it."""
    if seen.failed:
        return not run.sure, seen.failed
    if not run.sure:
        return True, seen.found or "nothing"
    # of a race both lines are told
    number = run.expected.rpartition(" ")[2]
    right = seen.found.startswith(run.expected) or (
        run.tool == "racecheck" and f":{number}" in seen.found
    )
    return right if run.expected else not seen.found, seen.found or "nothing"


class Table:
    """What was seen, printed and written line by line."""

    def __init__(self, out: Path, budget: float) -> None:
        self._out, self._budget = out, budget
        self._started = time.monotonic()
        self.rows: list[str] = []
        self.wrong = self.left_out = 0

    def add(self, run: Run, way: str, work: Callable[[Run], Seen]) -> None:
        """Does `work`, unless the budget is spent."""
        begun = time.monotonic()
        if begun - self._started > self._budget:
            self.left_out += 1
            return
        seen = work(run)
        good, told = judged(run, seen)
        self.wrong += not good
        log = self._out / way / f"{run.what.replace(' ', '_')}-{run.tool}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(seen.log)
        must = (run.expected or "nothing") if run.sure else f"perhaps {run.expected}"
        told = " ".join(told.split()).replace("|", "/")[:400]
        self.rows.append(
            f"| {run.what} | {way} | {run.tool} | {must} | {told} | {'yes' if good else 'NO'} "
            f"| {time.monotonic() - begun:.1f} |"
        )
        print(self.rows[-1], flush=True)
        (self._out / "table.md").write_text("\n".join([*HEAD, *self.rows]) + "\n")

    def summary(self) -> str:
        """One line."""
        seconds = time.monotonic() - self._started
        return (
            f"{len(self.rows)} runs, {self.wrong} not as they should be, {self.left_out} left out, "
            f"{seconds:.0f} s"
        )


def surroundings(workers: Workers) -> Iterator[str]:
    """What the runs depend on, for whoever reads the table."""
    try:
        tool = find_tool()
    except MkgenError as error:
        yield str(error)
        return
    yield f"tool: {tool}"
    for command in ([str(tool), "--version"], ["nvidia-smi", "-L"], ["nvidia-smi"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            yield f"{command[0]}: {error}"
            continue
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        yield f"{' '.join(command)}: {' / '.join(said[:4])}"
    confinement = workers.confinement
    yield f"confinement: {confinement.name}; it holds {confinement.holds}"
    yield from (f"not {t.name}: {t.reason}" for t in confinement.tried if t.reason)


def main() -> int:
    """Runs everything and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--target", default="cuda:sm_90a")
    parser.add_argument("--task", action="append")
    parser.add_argument("--through", action="append", choices=WAYS)
    parser.add_argument("--only", choices=("planted", "templates"))
    parser.add_argument("--budget", type=float, default=1e9, help="seconds after which to stop")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    target = Target.parse(options.target)
    ways = tuple(options.through or WAYS)
    table = Table(options.out, options.budget)
    with Workers(1) as workers:
        for line in surroundings(workers):
            print(line, flush=True)
        print("\n".join(HEAD), flush=True)
        backend = backend_named("cuda")
        with workers.lease(backend, "device") as lease:

            def confined(run: Run) -> Seen:
                return through_worker(run, lease, workers)

            for run in () if options.only == "templates" else planted(target):
                if "direct" in ways:
                    table.add(run, "direct", direct)
                if "worker" in ways:
                    table.add(run, "worker", confined)
            way, work = ("worker", confined) if "worker" in ways else ("direct", direct)
            names = () if options.only == "planted" else tuple(options.task or TASKS)
            for run in templates(names, target):
                table.add(run, way, work)
    print(table.summary(), flush=True)
    return int(table.wrong > 0 or table.left_out > 0)


if __name__ == "__main__":
    sys.exit(main())

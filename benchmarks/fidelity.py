"""How often the verdict without a device is the verdict on a GPU, for the same text and sizes.

    python benchmarks/fidelity.py host --out FILE [--backend B...] [--correct N] [--odd N] ...
    python benchmarks/fidelity.py device --cases FILE... --out FILE [--backend B...]
    python benchmarks/fidelity.py both --out FILE [--backend B...]      # where both can be had
    python benchmarks/fidelity.py compare --cases FILE... --out FILE.md  # files of all of these

`host` writes one line per pair of a program and sizes: the program itself, and how the executor
without a device judged it. `device` judges the very same programs on the GPU of its machine,
drawing the same inputs; `both` does the one after the other. Each line is written as soon as it
is known, and a run goes on where an earlier one to the same file ended. `compare` counts, and
explains what differs. With `--shard I/N` a process does its part of the tasks.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkgen.codegen.backend import Backend, Executor
from mkgen.codegen.candidate import scales
from mkgen.codegen.registry import backend_named
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.execution import Execution
from mkgen.evaluate.jobs import compile_program
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.programs import Programs, Stop
from mkgen.evaluate.protocol import Settings
from mkgen.program import PrecisionClass, Program
from mkgen.target import Target
from mkgen.task import Task, Workload

sys.path[:0] = [str(Path(__file__).parent)]

from fidelity_cases import TARGETS, Case, Selection, read  # noqa: E402
from fidelity_table import lines, pairs, table  # noqa: E402


@dataclass(frozen=True)
class Fixed:
    """A candidate that is one program."""

    task: Task
    backend: Backend
    target: Target
    text: Program
    precision: PrecisionClass = PrecisionClass.STRICT
    origin: str = "template"
    """Ours: the inputs are those of seed 0 on both sides."""

    def program(self, workload: Workload) -> Program:
        """The one."""
        return self.text


def judged(case: Case, role: str, workers: Workers, settings: Settings) -> dict[str, Any]:
    """How the first executor of `role` that takes the program ends: status, who, why, seconds.

    A mutant has workers of its own: what it writes beside its buffers may end a later text's run.
    """
    started = time.monotonic()
    if case.kind == "mutant":
        with Workers() as own:
            found = _judged(case, role, own, settings)
    else:
        found = _judged(case, role, workers, settings)
    return found | {"seconds": round(time.monotonic() - started, 2)}


def _judged(case: Case, role: str, workers: Workers, settings: Settings) -> dict[str, Any]:
    backend, program = backend_named(case.backend), case.program
    told = "no executor"
    for executor in backend.executors():
        if executor.role != role or executor.kind.value == "sanitized":
            continue
        # OpenCL for a CPU is another target, but the same text
        targets = [program.target]
        if role == "emulate" and "cpu" in backend.archs:
            targets.append(Target(backend=case.backend, arch="cpu"))
        for target in targets:
            placed = program.model_copy(update={"target": target})
            found = _run(case, placed, backend, executor, workers, settings)
            if found["status"] != "declined":
                return found | {"executor": executor.name}
            told = found["message"]
    return {"status": "declined", "message": told, "executor": ""}


def _run(
    case: Case, program: Program, backend: Backend, executor: Executor, workers: Workers,
    settings: Settings,
) -> dict[str, Any]:  # fmt: skip
    task = case.resolved()
    candidate = Fixed(task, backend, program.target, program)
    execution = Execution(candidate, workers, settings, executor)
    try:
        artifact: Any = None
        if executor.needs_artifact:
            artifact = compile_program(workers, backend, program, settings.cache, 120.0)
        runs = Programs(case.workload, program, ((case.workload, program),))
        if executor.kind.value != "emulated":  # those run the whole first, which is the same here
            runs = Programs(case.workload, program, ())
        _, why = execution.go(runs, artifact)
    except Stop as stop:
        return {"status": stop.status.value, "message": stop.reason[:300]}
    except WorkerFailure as failure:
        return {"status": failure.status.value, "message": failure.message[:300]}
    if not execution.results:
        return {"status": "declined", "message": why[:300]}
    return {"status": "pass", "message": ""}


class Sink:
    """Lines of a file, each written when it is known; those of an earlier run are kept."""

    def __init__(self, path: Path, budget: float) -> None:
        """`budget`: seconds after which nothing more is begun."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.known = {line["key"] for line in lines([path])} if path.exists() else set()
        self._file = path.open("a")
        self._started, self._budget = time.monotonic(), budget

    def left(self, keys: Iterable[tuple[str, Any]]) -> Iterator[Any]:
        """What belongs to keys that the file has not, while there is time."""
        for key, what in keys:
            if key in self.known:
                continue
            if time.monotonic() - self._started > self._budget:
                print(f"stopped after {self._budget:.0f} s, before {key}", flush=True)
                return
            yield what

    def add(self, line: dict[str, Any]) -> None:
        """Writes a line, and says how it ended."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        seconds = time.monotonic() - self._started
        ends = [f"{side} {line[side]['status']}" for side in ("host", "device") if side in line]
        print(f"{seconds:.0f} s: {line['key']}: {', '.join(ends)}", flush=True)


def selection(options: argparse.Namespace) -> Selection:
    """What the options ask for."""
    first, step = (int(part) for part in options.shard.split("/"))
    return Selection(
        tuple(options.backend or TARGETS), options.correct, options.odd, options.mutants,
        options.seed, first, step,
    )  # fmt: skip


@contextmanager
def fresh_cache() -> Iterator[CompileCache]:
    """A cache of this run's own, or that of the processes which share MKGEN_CACHE."""
    with tempfile.TemporaryDirectory(prefix="mkgen-fidelity-") as scratch:
        os.environ.setdefault("MKGEN_CACHE", scratch)
        yield CompileCache()


def host(options: argparse.Namespace) -> None:
    """Writes cases and their verdicts without a device."""
    sink = Sink(options.out, options.budget)
    with fresh_cache() as cache, Workers() as workers:
        # a loaded machine must not be a verdict
        settings = Settings(Judge(scales), cache, run_timeout=300.0)
        for case in sink.left((c.key, c) for c in selection(options).cases()):
            found = judged(case, "emulate", workers, settings)
            program = case.program.model_dump(mode="json")
            sink.add(case.line() | {"program": program, "host": found})


def both(options: argparse.Namespace) -> None:
    """Judges the cases here without a device and on the GPU."""
    sink = Sink(options.out, options.budget)
    with fresh_cache() as cache, Workers() as workers:
        # every core has a process: a loaded machine must not be a verdict here either
        settings = Settings(Judge(scales), cache, run_timeout=120.0, device=True)
        for case in sink.left((c.key, c) for c in selection(options).cases()):
            found = {
                side: judged(case, role, workers, settings)
                for side, role in (("host", "emulate"), ("device", "device"))
            }
            sink.add(case.line() | found)


def device(options: argparse.Namespace) -> None:
    """Judges the cases of files on the GPU here, task by task in an order drawn by the seed."""
    chosen = selection(options)
    mine = [line for line in lines(options.cases) if line["backend"] in chosen.backends]
    tasks = sorted({line["task"] for line in mine})
    random.Random(chosen.seed).shuffle(tasks)
    order = {name: place for place, name in enumerate(tasks)}
    mine = [line for line in mine if order[line["task"]] % chosen.step == chosen.first]
    mine.sort(key=lambda line: order[line["task"]])
    sink = Sink(options.out, options.budget)
    with fresh_cache() as cache, Workers() as workers:
        settings = Settings(Judge(scales), cache, run_timeout=120.0, device=True)
        for line in sink.left((m["key"], m) for m in mine):
            case = read(line)
            found = judged(case, "device", workers, settings)
            sink.add({"key": case.key, "text_sha": case.program.text_sha, "device": found})


def compare(options: argparse.Namespace) -> None:
    """Writes the table and every pair that differs; prints it without these."""
    text = table(pairs(lines(options.cases)))
    options.out.write_text(text)
    print("\n".join(x for x in text.split("\n") if x and not x.startswith("- ")), flush=True)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("host", "device", "both", "compare"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--cases", type=Path, nargs="+", default=[])
    parser.add_argument("--backend", nargs="+", choices=tuple(TARGETS), help="default: all")
    parser.add_argument("--correct", type=int, default=5, help="sizes of each task")
    parser.add_argument("--odd", type=int, default=15, help="shapes of each of twelve tasks")
    parser.add_argument("--mutants", type=int, default=3, help="of each task")
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--budget", type=float, default=1e9, help="seconds after which to stop")
    options = parser.parse_args()
    {"host": host, "device": device, "both": both, "compare": compare}[options.what](options)


if __name__ == "__main__":
    main()

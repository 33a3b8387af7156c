"""How often the verdict without a device is the verdict on a GPU, for the same text and sizes.

    python benchmarks/fidelity.py host --out DIR [--shard I/N] [--correct N] [--odd N] [--mutants N]
    python benchmarks/fidelity.py device --cases DIR/cases*.jsonl.xz --out FILE --shard I/N
    python benchmarks/fidelity.py both --out DIR --backend B --shard I/N   # where both can be had
    python benchmarks/fidelity.py compare --cases FILE... [--seen FILE...] --out FILE.md

`host` writes one line per pair of a program and sizes: the program itself, and how the executor
without a device judged it. Programs are our own kernels, our own at shapes drawn at random, and
mutants (tests/mutation). `device` judges the very same programs on the GPU of its machine, drawing
the same inputs; `compare` counts and lists what differs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import lzma
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkgen.cli.request import resolve_task
from mkgen.codegen.backend import Backend, Executor
from mkgen.codegen.candidate import Generator, TemplateCandidate, scales
from mkgen.codegen.registry import backend_named
from mkgen.errors import MkgenError, UnsupportedError
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.execution import Execution, Programs, Stop
from mkgen.evaluate.jobs import compile_program
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.protocol import Settings
from mkgen.program import PrecisionClass, Program
from mkgen.record import Status
from mkgen.target import Target
from mkgen.task import Task, Workload, find_task, task_files
from mkgen.tune.choose import rank

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "tests")]

from tests.mutation.mutant import mutants_of  # noqa: E402
from tests.test_own_shapes import DTYPES, RANGES  # noqa: E402

TARGETS = {
    "cuda": "cuda:sm_90a", "hip": "hip:sm_90", "triton": "triton:sm_90", "opencl": "opencl:sm_90",
    "pallas": "pallas:sm_90",
}  # fmt: skip


@dataclass(frozen=True)
class Fixed:
    """A candidate that is one program."""

    task: Task
    backend: Backend
    target: Target
    text: Program
    precision: PrecisionClass = PrecisionClass.STRICT
    origin: str = "template"
    """Ours: workers are ended after a bad end only."""

    def program(self, workload: Workload) -> Program:
        """The one."""
        return self.text


@dataclass(frozen=True)
class Case:
    """A program at sizes, and where both come from."""

    kind: str
    backend: str
    task: str
    shapes: tuple[str, ...]
    dtype: str | None
    workload: Workload
    program: Program
    told: str = ""
    """Of a mutant: what is wrong with it."""

    @property
    def key(self) -> str:
        """The same for the same text and sizes."""
        sizes = " ".join(f"{k}={v}" for k, v in sorted(self.workload.sizes.items()))
        return f"{self.kind} {self.backend} {self.task} {self.dtype or ''} {sizes} {self.told}"

    def resolved(self) -> Task:
        """The task, with the shapes and dtype of this case."""
        if not self.shapes and self.dtype is None:
            return find_task(self.task)
        return resolve_task(self.task, self.shapes, self.dtype)

    def line(self) -> dict[str, Any]:
        """What goes into the file."""
        plain = {"kind": self.kind, "backend": self.backend, "task": self.task}
        return plain | {
            "shapes": self.shapes, "dtype": self.dtype, "told": self.told, "key": self.key,
            "workload": self.workload.model_dump(mode="json"),
            "program": self.program.model_dump(mode="json"),
        }  # fmt: skip


def read(line: dict[str, Any]) -> Case:
    """The case of a line."""
    return Case(
        line["kind"], line["backend"], line["task"], tuple(line["shapes"]), line["dtype"],
        Workload.model_validate(line["workload"]), Program.model_validate(line["program"]),
        line["told"],
    )  # fmt: skip


def generator(task: Task, backend: str) -> Generator:
    """Of `task` for the NVIDIA GPU target of `backend`."""
    return Generator(task, backend_named(backend), Target.parse(TARGETS[backend]))


def best(made: Generator) -> TemplateCandidate:
    """The model's first choice, nothing compiled."""
    choice: TemplateCandidate = rank(made)[0].candidate
    return choice


def small(task: Task) -> list[Workload]:
    """Check and held-out sizes, all run as check sizes are: in every schedule."""
    return [w.model_copy(update={"role": "check"}) for w in task.workloads() if w.role != "bench"]


def correct(tasks: list[str], count: int, targets: list[str]) -> Iterator[Case]:
    """Our own kernels at the tasks' own sizes."""
    for name, backend in itertools.product(tasks, targets):
        task = find_task(name)
        try:
            candidate = best(generator(task, backend))
            for workload in small(task)[:count]:
                program = candidate.program(workload)
                yield Case("correct", backend, name, (), None, workload, program)
        except MkgenError as error:
            print(f"{name} {backend}: {error}", file=sys.stderr)


def odd(tasks: list[str], count: int, seed: int, targets: list[str]) -> Iterator[Case]:
    """Our own kernels at shapes drawn at random."""
    for name in tasks:
        if name not in RANGES:
            continue
        draw = random.Random(f"{seed} {name}")
        for number in range(count):
            sizes = {n: draw.randint(*ends) for n, ends in RANGES[name].items()}
            dtype = DTYPES[number % len(DTYPES)]
            plain = find_task(name)
            known = plain.bench | sizes
            shapes = tuple(
                f"{n}={','.join(map(str, t.resolve(known)))}" for n, t in plain.inputs.items()
            )
            task = resolve_task(name, shapes, dtype)
            workload = Workload(name="odd", role="check", sizes=known)
            for backend in targets:
                program = best(generator(task, backend)).program(workload)
                yield Case("odd", backend, name, shapes, dtype, workload, program)


def mutants(tasks: list[str], count: int, seed: int, targets: list[str]) -> Iterator[Case]:
    """Up to `count` mutants of each task, the backends in turn, at two sizes each."""
    for number, name in enumerate(tasks):
        order = list(TARGETS)
        for turn in range(count):
            backend = order[(number + turn) % len(order)]
            if backend not in targets:
                continue
            try:
                found = list(mutants_of(backend, name))
            except UnsupportedError:
                continue
            if not found:
                continue
            mutant = random.Random(f"{seed} {name} {turn}").choice(found)
            for workload in small(mutant.task)[:2]:
                program = mutant.program(workload).model_copy(
                    update={"target": Target.parse(TARGETS[backend])}
                )
                told = mutant.mutation.description
                yield Case("mutant", backend, name, (), None, workload, program, told)


def judged(case: Case, role: str, workers: Workers, settings: Settings) -> dict[str, str]:
    """How the first executor of `role` that takes the program ends: status, who, and why."""
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
) -> dict[str, str]:  # fmt: skip
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


def host(options: argparse.Namespace) -> None:
    """Writes cases and their verdicts here; goes on where an earlier run ended."""
    first, step = (int(part) for part in options.shard.split("/"))
    tasks = sorted(task_files())[first::step]
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"cases{first}.jsonl"
    known = {json.loads(line)["key"] for line in path.open()} if path.exists() else set()
    with tempfile.TemporaryDirectory(prefix="mkgen-fidelity-") as scratch, path.open("a") as out:
        os.environ["MKGEN_CACHE"] = scratch
        settings = Settings(Judge(scales), CompileCache(Path(scratch)), run_timeout=60.0)
        with Workers() as workers:
            for case in chosen_cases(tasks, options):
                if case.key not in known:
                    found = judged(case, "emulate", workers, settings)
                    out.write(json.dumps(case.line() | {"host": found}) + "\n")
                    out.flush()
                    print(case.key, found["status"], found["message"][:100], flush=True)


def both(options: argparse.Namespace) -> None:
    """Judges the cases of one shard here without a device and on the GPU."""
    first, step = (int(part) for part in options.shard.split("/"))
    tasks = sorted(task_files())[first::step]
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    settings = Settings(Judge(scales), CompileCache(), run_timeout=30.0, device=True)
    path = options.out / f"{options.backend}{first}.jsonl"
    with Workers() as workers, path.open("a") as out:
        for case in chosen_cases(tasks, options):
            if time.monotonic() - started > options.budget:
                break
            found = {role: judged(case, role, workers, settings) for role in ("emulate", "device")}
            plain = {k: v for k, v in case.line().items() if k != "program"}
            plain |= {"text_sha": case.program.text_sha, "sizes": dict(case.workload.sizes)}
            plain |= {"host": found["emulate"], "device": found["device"]}
            out.write(json.dumps(plain) + "\n")
            out.flush()
    print(f"{options.backend} {options.shard}: {time.monotonic() - started:.0f} s", flush=True)


def chosen_cases(tasks: list[str], options: argparse.Namespace) -> Iterator[Case]:
    """All cases that the options ask for, mutants first."""
    targets = [options.backend] if options.backend else list(TARGETS)
    return itertools.chain(
        mutants(tasks, options.mutants, options.seed, targets),
        odd(tasks, options.odd, options.seed, targets),
        correct(tasks, options.correct, targets),
    )


def lines(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """Every line of the files, packed or not."""
    for path in paths:
        with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as file:
            yield from map(json.loads, file)


def device(options: argparse.Namespace) -> None:
    """Judges the cases of one shard on the GPU here."""
    first, step = (int(part) for part in options.shard.split("/"))
    chosen = [line for line in lines(options.cases) if options.backend in ("", line["backend"])]
    chosen.sort(key=lambda line: (line["backend"], line["task"]))
    started = time.monotonic()
    settings = Settings(Judge(scales), CompileCache(), run_timeout=20.0, device=True)
    mine = chosen[len(chosen) * first // step : len(chosen) * (first + 1) // step]
    with Workers() as workers, options.out.open("a") as out:
        for line in mine:
            if time.monotonic() - started > options.budget:
                break
            found = judged(read(line), "device", workers, settings)
            out.write(json.dumps({"key": line["key"], "device": found}) + "\n")
            out.flush()
    print(f"shard {options.shard} {options.backend}: {time.monotonic() - started:.0f} s")


def verdict(status: str) -> str:
    """right, wrong, or nothing where no program came to run."""
    unjudged = ("declined", Status.COMPILE_FAILED, Status.NO_TOOLCHAIN, Status.UNSUPPORTED,
                Status.INTERNAL_ERROR, Status.BAD_TASK, Status.ILL_CONDITIONED)  # fmt: skip
    if status in unjudged:
        return ""
    return "right" if status == Status.PASS else "wrong"


def compare(options: argparse.Namespace) -> None:
    """Writes the table, and every pair that differs."""
    seen = {line["key"]: line["device"] for line in lines(options.seen or options.cases)}
    counts: Counter[tuple[str, str, str]] = Counter()
    differing, unjudged = [], []
    for line in lines(options.cases):
        there = seen.get(line["key"])
        if there is None:
            continue
        a, b = verdict(line["host"]["status"]), verdict(there["status"])
        cell = (line["backend"], line["kind"])
        if not a or not b:
            counts[(*cell, "unjudged")] += 1
            unjudged.append((line, there))
            continue
        counts[(*cell, "pairs")] += 1
        counts[(*cell, a)] += 1
        if a != b:
            counts[(*cell, "differ")] += 1
            differing.append((line, there))
    total = sum(n for (_, _, what), n in counts.items() if what == "pairs")
    head = "| backend | texts | pairs | right | wrong | differ | not judged |\n"
    text = [head, "|---" * 7 + "|\n"]
    for cell in sorted({key[:2] for key in counts}):
        row = [counts[(*cell, w)] for w in ("pairs", "right", "wrong", "differ", "unjudged")]
        text.append(f"| {cell[0]} | {cell[1]} | {' | '.join(map(str, row))} |\n")
    share = 1 - len(differing) / max(1, total)
    text.append(f"\n{total} pairs, {total - len(differing)} agree: {share:.2%}.\n")
    for title, found in (("Differ", differing), ("Not judged", unjudged)):
        text.append(f"\n## {title}\n\n")
        for line, there in found:
            here = line["host"]
            text.append(
                f"- {line['key']}: without a device {here['status']} ({here['message'][:160]}); "
                f"on the GPU {there['status']} ({there['message'][:160]})\n"
            )
    options.out.write_text("".join(text))
    print("".join(text[:40]))


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("host", "device", "both", "compare"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--cases", type=Path, nargs="+")
    parser.add_argument("--seen", type=Path, nargs="+")
    parser.add_argument("--backend", default="", choices=("", *TARGETS))
    parser.add_argument("--correct", type=int, default=5, help="sizes of each task")
    parser.add_argument("--odd", type=int, default=9, help="shapes of each of twelve tasks")
    parser.add_argument("--mutants", type=int, default=2, help="of each task")
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--budget", type=float, default=1e9, help="seconds after which to stop")
    options = parser.parse_args()
    {"host": host, "device": device, "both": both, "compare": compare}[options.what](options)


if __name__ == "__main__":
    main()

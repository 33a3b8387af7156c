"""Measured speed of what mkgen makes, beside PyTorch and a plain copy, all in one process.

    python benchmarks/speed.py --device h200 --out DIR [--winners DIR] [--task T ...]

Per task and target the winner of a sweep (`--winners`, else the model's first choice), the eager
reference in full float32, and the bandwidth that copying 1 GiB reaches on the same GPU in the same
run. `share` is what a task must move (each input read once, each output written once) over what
the copy would move in that time; it says something of tasks that are bound by memory only.

    python benchmarks/speed.py --device h200 --out DIR/$I --shard $I/4 [...] &   # for each I
    python benchmarks/speed.py --merge DIR/0 DIR/1 DIR/2 DIR/3 --out DIR

Shards prepare side by side and measure one at a time, each beside its own copy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_matrix import torch_seconds

from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.codegen.registry import backend_named
from mkgen.errors import MkgenError
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.inputs import Inputs, draw, reference_call
from mkgen.evaluate.jobs import compile_program, compiler_identity
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.files import exclusive
from mkgen.program import Artifact
from mkgen.target import Target
from mkgen.task import Task, find_task, task_files
from mkgen.tune.choose import choose
from mkgen.tune.measure import timing_lock
from mkgen.tune.winners import Winners

TARGETS = ("cuda:sm_90a", "triton:sm_90")
#: Bytes from which a task counts as bound by memory, when it multiplies no matrices.
LARGE = 64 << 20
_ITEM = {"float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "bool": 1}


def copy_bandwidth(samples: int = 15) -> float:
    """Bytes per second, read and written, of a copy of 1 GiB."""
    import torch

    source = torch.ones(1 << 28, device="cuda")
    target = torch.empty_like(source)
    times = []
    for _ in range(samples):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        target.copy_(source)
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return 2 * source.numel() * 4 / statistics.median(times[3:])


def moved_bytes(made: Generator) -> int:
    """Each input read once and each output written once, at the bench sizes."""
    graph = made.graph
    total = 0
    for name, info in graph.tensors.items():
        if info.role in ("input", "parameter", "state", "output"):
            count = 1
            for extent in graph.shape(name, made.sizes):
                count *= extent
            total += count * _ITEM[info.dtype]
    return total


def memory_bound(made: Generator) -> bool:
    """Whether the task moves 64 MB or more and multiplies no matrices, nor loops."""
    plain = all(k.kind != "contraction" and not k.loop for k in made.kernels)
    return plain and moved_bytes(made) >= LARGE


@dataclass(frozen=True)
class Ready:
    """A candidate that is compiled, and where its parameters came from."""

    made: Generator
    candidate: TemplateCandidate
    source: str
    artifact: Artifact


def prepare(task: Task, target: Target, workers: Workers, winners: Path | None) -> Ready:
    """The winner for `task`, else the model's first choice, compiled. MkgenError, WorkerFailure."""
    backend = backend_named(target.backend)
    made = Generator(task, backend, target)
    cache = CompileCache()
    toolchain = compiler_identity(workers, backend)
    found = Winners(winners).find(made, toolchain) if winners else None
    if found is not None:
        candidate, source = found.candidate, found.source.kind
    else:
        choices, _ = choose(made, workers, cache)
        candidate, source = choices[0].candidate, "model"
    program = candidate.program(made.workload)
    artifact = compile_program(workers, backend, program, cache, 300.0)
    return Ready(made, candidate, source, artifact)


def measured(ready: Ready, inputs: Inputs, directory: Path, samples: int) -> float:
    """Median seconds of a candidate, the cache flushed between runs."""
    executor = next(e for e in ready.made.backend.executors() if e.role == "device")
    program = ready.candidate.program(ready.made.workload)
    loaded = executor.load(program, ready.artifact, directory)
    try:
        return statistics.median(loaded.time(inputs, samples))
    finally:
        loaded.close()


def rows_of(task: Task, workers: Workers, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A line per target: what was measured, or why nothing was."""
    targets = [Target.parse(f"{text}@{options.device}") for text in TARGETS]
    ready: dict[Target, Ready | str] = {}
    for target in targets:
        try:
            ready[target] = prepare(task, target, workers, options.winners)
        except (MkgenError, WorkerFailure) as error:
            ready[target] = str(error)[:300]
    reference = reference_call(task, task.bench)
    inputs = {**draw(task, task.workloads()[0], 0), **reference.parameters}
    rows = []
    with exclusive(timing_lock()):
        copy = copy_bandwidth()
        eager = torch_seconds(task)
        for target, found in ready.items():
            row: dict[str, Any] = {
                "task": task.name, "target": str(target), "torch_seconds": eager, "copy": copy,
            }  # fmt: skip
            rows.append(row)
            if isinstance(found, str):
                row["reason"] = found
                continue
            row |= {"bytes": moved_bytes(found.made), "memory_bound": memory_bound(found.made)}
            row |= {"source": found.source, "parameters": found.candidate.request.parameters}
            try:
                row["seconds"] = measured(found, inputs, options.out, options.samples)
            except (MkgenError, WorkerFailure) as error:
                row["reason"] = str(error)[:300]
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: every figure measured in this run."""
    copies = sorted(row["copy"] / 1e12 for row in rows)
    head = (
        f"Copy of 1 GiB: {statistics.median(copies):.2f} TB/s "
        f"({copies[0]:.2f} to {copies[-1]:.2f}, once before each task).\n\n"
    )
    head += "| task | target | parameters from | time | PyTorch | ratio | share of copy |\n"
    lines = [head + "|---" * 7 + "|\n"]
    shares: dict[str, float] = {}
    for row in rows:
        if "seconds" not in row:
            lines.append(f"| {row['task']} | {row['target']} | {row.get('reason', '')} ||||\n")
            continue
        share = row["bytes"] / row["copy"] / row["seconds"]
        if row["memory_bound"]:
            shares[row["task"]] = max(share, shares.get(row["task"], 0.0))
        shown = f"{share:.0%}" if row["memory_bound"] else ""
        lines.append(
            f"| {row['task']} | {row['target']} | {row['source']} | {row['seconds'] * 1e6:.1f} us "
            f"| {row['torch_seconds'] * 1e6:.1f} us "
            f"| {row['torch_seconds'] / row['seconds']:.2f} | {shown} |\n"
        )
    if shares:
        lines.append(
            f"\nBound by memory: {len(shares)} tasks; median of the better target's share of the "
            f"copy: {statistics.median(shares.values()):.0%}.\n"
        )
    return "".join(lines)


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Writes speed.json and speed.md."""
    (out / "speed.json").write_text(json.dumps(rows, indent=1) + "\n")
    (out / "speed.md").write_text(table(rows))


def main() -> None:
    """Measures, or merges what shards have measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", help="the device's name in targets: h200")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--winners", type=Path)
    parser.add_argument("--task", nargs="+", default=list(task_files()))
    parser.add_argument("--shard", default="0/1", help="I/N: every N-th task from the I-th on")
    parser.add_argument("--merge", type=Path, nargs="+", help="directories of shards")
    parser.add_argument("--samples", type=int, default=9)
    parser.add_argument("--budget", type=float, default=1e9, help="seconds after which to stop")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    if options.merge:
        for part in options.merge:
            rows += json.loads((part / "speed.json").read_text())
        write(rows, options.out)
        print(table(rows))
        return
    started = time.monotonic()
    first, step = (int(part) for part in options.shard.split("/"))
    with Workers() as workers:
        for name in options.task[first::step]:
            if time.monotonic() - started > options.budget:
                print(f"{name}: the time was used up before it", flush=True)
                continue
            rows += rows_of(find_task(name), workers, options)
            write(rows, options.out)
            print(*(json.dumps(row) for row in rows[-len(TARGETS) :]), sep="\n", flush=True)


if __name__ == "__main__":
    main()

"""Measured speed of what mkgen makes, beside PyTorch and a plain copy, all in one process.

    python benchmarks/speed.py --device h200 --out DIR [--winners DIR] [--task T ...]

Per task and target the winner of a sweep (`--winners`, else the model's first choice), the eager
reference in full float32, and the bandwidth that copying 1 GiB reaches on the same GPU in the same
run. `share` is what a task must move (each input read once, each output written once) over what
the copy would move in that time; it says something of tasks that are bound by memory only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from device_matrix import torch_seconds

from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.codegen.registry import backend_named
from mkgen.errors import MkgenError
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.inputs import draw, reference_call
from mkgen.evaluate.jobs import compile_program, compiler_identity
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.target import Target
from mkgen.task import Task, find_task, task_files
from mkgen.tune.choose import choose
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


def measured(
    made: Generator, candidate: TemplateCandidate, workers: Workers, cache: CompileCache,
    inputs: dict[str, Any], directory: Path, samples: int,
) -> float:  # fmt: skip
    """Median seconds of `candidate`, the cache flushed between runs."""
    program = candidate.program(made.workload)
    artifact = compile_program(workers, made.backend, program, cache, 300.0)
    executor = next(e for e in made.backend.executors() if e.role == "device")
    loaded = executor.load(program, artifact, directory)
    try:
        return statistics.median(loaded.time(inputs, samples))
    finally:
        loaded.close()


def one(
    task: Task, target: Target, workers: Workers, options: argparse.Namespace, eager: float
) -> dict[str, Any]:
    """One line: what was measured, or why nothing was."""
    backend = backend_named(target.backend)
    made = Generator(task, backend, target)
    row: dict[str, Any] = {
        "task": task.name, "target": str(target), "torch_seconds": eager,
        "bytes": moved_bytes(made), "memory_bound": memory_bound(made),
    }  # fmt: skip
    cache = CompileCache()
    reference = reference_call(task, task.bench)
    inputs = {**draw(task, made.workload, 0), **reference.parameters}
    try:
        toolchain = compiler_identity(workers, backend)
        found = Winners(options.winners).find(made, toolchain) if options.winners else None
        if found is not None:
            candidate, row["source"] = found.candidate, found.source.kind
        else:
            choices, _ = choose(made, workers, cache)
            candidate, row["source"] = choices[0].candidate, "model"
        row["seconds"] = measured(
            made, candidate, workers, cache, inputs, options.out, options.samples
        )
        row["parameters"] = candidate.request.parameters
    except (MkgenError, WorkerFailure) as error:
        row["reason"] = str(error)[:300]
    return row


def table(rows: list[dict[str, Any]], copy: float) -> str:
    """Markdown: every figure measured in this run."""
    head = f"Copy of 1 GiB: {copy / 1e12:.2f} TB/s.\n\n"
    head += "| task | target | parameters from | time | PyTorch | ratio | share of copy |\n"
    lines = [head + "|---" * 7 + "|\n"]
    shares: dict[str, float] = {}
    for row in rows:
        if "seconds" not in row:
            lines.append(f"| {row['task']} | {row['target']} | {row.get('reason', '')} ||||\n")
            continue
        share = row["bytes"] / copy / row["seconds"]
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


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--winners", type=Path)
    parser.add_argument("--task", action="append")
    parser.add_argument("--samples", type=int, default=9)
    parser.add_argument("--budget", type=float, default=1e9, help="seconds after which to stop")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    copy = copy_bandwidth()
    rows: list[dict[str, Any]] = []
    with Workers() as workers:
        for name in options.task or task_files():
            if time.monotonic() - started > options.budget:
                break
            task = find_task(name)
            eager = torch_seconds(task)
            for text in TARGETS:
                target = Target.parse(f"{text}@{options.device}")
                rows.append(one(task, target, workers, options, eager))
                print(json.dumps(rows[-1]), flush=True)
            result = {"copy_bytes_per_second": copy, "rows": rows}
            (options.out / "speed.json").write_text(json.dumps(result, indent=1))
            (options.out / "speed.md").write_text(table(rows, copy))
    print(table(rows, copy))


if __name__ == "__main__":
    main()

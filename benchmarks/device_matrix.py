"""Every task on every target that one NVIDIA GPU can run: right at bench size, and how fast.

    python benchmarks/device_matrix.py --device h200 --out DIR [--task T ...] [--target B:A ...]

Writes DIR/records.jsonl (one record a line), DIR/table.md and DIR/table.json. PyTorch's own time
for the same call is taken in the same process, right before and after the kernels of a task.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import traceback
from pathlib import Path
from typing import Any

from mkgen.codegen.candidate import Generator, scales
from mkgen.codegen.registry import backend_named
from mkgen.errors import MkgenError
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.inputs import draw, reference_call
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.protocol import Settings, evaluate
from mkgen.record import EvidenceKind, Record
from mkgen.target import Target
from mkgen.task import Task, find_task, task_files
from mkgen.tune.choose import choose

TARGETS = ("cuda:sm_90a", "triton:sm_90", "hip:sm_90", "opencl:sm_90", "pallas:sm_90")


def torch_seconds(task: Task, samples: int = 15) -> float:
    """Median time of the eager reference on the GPU, cache flushed between calls."""
    import torch

    reference = reference_call(task, task.bench)
    inputs = [torch.from_numpy(a).cuda() for a in draw(task, task.workloads()[0], 0).values()]
    call = reference.call.cuda() if isinstance(reference.call, torch.nn.Module) else reference.call
    torch.backends.cudnn.allow_tf32 = False  # PyTorch's default would round convolutions to TF32
    torch.backends.cuda.matmul.allow_tf32 = False
    flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    times = []
    with torch.no_grad():
        for _ in range(samples + 3):
            flush.zero_()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call(*inputs)
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end) / 1e3)
    del inputs, flush
    torch.cuda.empty_cache()
    return statistics.median(times[3:])


def one(task: Task, target: Target, judge: Judge, workers: Workers, samples: int) -> Record:
    """The best candidate by the model, through the whole protocol with the device."""
    backend = backend_named(target.backend)
    cache = CompileCache()
    choices, _ = choose(Generator(task, backend, target), workers, cache)
    settings = Settings(judge, cache, device=True, samples=samples)
    return evaluate(choices[0].candidate, workers, settings)


def row(task: Task, target: Target, record: Record, torch_time: float) -> dict[str, Any]:
    """One line of the table."""
    kinds = [e.kind.value for e in record.evidence]
    timed = [e.detail for e in record.evidence if e.kind is EvidenceKind.TIMED]
    bench = [r for r in record.results if r.workload == "bench"]
    return {
        "task": task.name, "target": str(target), "status": record.status.value,
        "kinds": kinds, "share": record.error.share if record.error else None,
        "bench_seen": any(r.status.value == "pass" for r in bench), "timed": timed,
        "parameters": record.parameters, "torch_seconds": torch_time, "reason": record.reason,
        "details": [e.detail for e in record.evidence],
    }  # fmt: skip


def main() -> None:
    """Runs the matrix."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--task", action="append")
    parser.add_argument("--target", action="append")
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument(
        "--shard",
        default="0/1",
        help="I/N: every N-th task from the I-th on; side by side for being right, never for times",
    )
    parser.add_argument("--budget", type=float, default=1e9, help="seconds after which to stop")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    first, step = options.shard.split("/")
    judge = Judge(scales, cache_bytes=(60 << 30) // int(step))
    rows: list[dict[str, Any]] = []
    with Workers() as workers, (options.out / "records.jsonl").open("a") as records:
        for name in sorted(options.task or task_files())[int(first) :: int(step)]:
            task = find_task(name)
            torch_time = torch_seconds(task)
            for text in options.target or TARGETS:
                if time.monotonic() - started > options.budget:
                    continue
                target = Target.parse(f"{text}@{options.device}")
                try:
                    record = one(task, target, judge, workers, options.samples)
                except (MkgenError, WorkerFailure) as error:
                    print(name, target, type(error).__name__, str(error)[:600], flush=True)
                    continue
                except Exception:
                    traceback.print_exc()
                    continue
                records.write(record.model_dump_json() + "\n")
                records.flush()
                rows.append(row(task, target, record, torch_time))
                shown = rows[-1]
                told = [shown[k] for k in ("status", "kinds", "share", "timed", "reason")]
                print(name, target, *told, f"torch {torch_time * 1e6:.0f} us", flush=True)
                (options.out / "table.json").write_text(json.dumps(rows, indent=1))
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

"""The whole of timing on one NVIDIA GPU: honest kernels beside PyTorch, and lies about time.

    PYTHONPATH=.:backends python benchmarks/device_timing.py --device h200 --out DIR

Per task and target the model's first choice goes through the protocol with `timed`, beside eager
PyTorch and torch.compile. Then launchers that cheat are timed, each in a fresh process, and must
end as EXPLOITS says. Writes DIR/timing.json and DIR/timing.md; ends with 1 when an honest kernel
is not believed or a lie is. What the budget leaves out is said.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mkgen.codegen.candidate import Generator, TemplateCandidate, scales
from mkgen.codegen.registry import backend_named
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.jobs import compile_program
from mkgen.evaluate.limits import last_level_cache, profile_of
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.protocol import Settings, evaluate
from mkgen.evaluate.timing.flush import CERTAIN, FACTORS
from mkgen.evaluate.timing.measure import Plan, Subject, measure
from mkgen.program import Program
from mkgen.record import EvidenceKind, Record, Status
from mkgen.target import Target
from mkgen.task import Task, find_task
from mkgen.tune.choose import choose

TARGETS = ("cuda:sm_90a", "triton:sm_90")
TASKS = (
    "relu", "softmax", "matmul", "layer_norm", "sum_reduce", "log_softmax", "matvec",
    "conv2d_bias_relu",
)  # fmt: skip
#: torch.compile takes long to start.
COMPILED = ("softmax", "layer_norm", "sum_reduce")
#: The lies are told of this one, at sizes whose oracle is quick and whose time is no launch's.
LIED_OF, LIED_SIZES = "relu", {"ROWS": 2048, "COLS": 8192}


@dataclass(frozen=True)
class Exploit:
    """Text behind an honest launcher `honest` that replaces it by `cheat`, and how it must end."""

    text: str
    ends: tuple[Status, ...]


#: Behind the launcher's own text; `{name}` is the launcher's.
EXPLOITS: dict[str, Exploit] = {
    "side stream": Exploit(
        """
_stream = torch.cuda.Stream()


def cheat(x):
    with torch.cuda.stream(_stream):
        return honest(x)
""",
        (Status.IMPLAUSIBLE,),
    ),
    "side stream, waited for by the call": Exploit(
        """
_stream = torch.cuda.Stream()


def cheat(x):
    with torch.cuda.stream(_stream):
        y = honest(x)
    _stream.synchronize()
    return y
""",
        (Status.IMPLAUSIBLE,),
    ),
    "work in a thread after the return": Exploit(
        """
import threading
import time


def cheat(x):
    y = torch.empty_like(x)

    def later():
        time.sleep(0.003)
        y.copy_(honest(x))

    threading.Thread(target=later).start()
    return y
""",
        (Status.WRONG_OUTPUT,),
    ),
    "counts its calls": Exploit(
        """
_calls = 0


def cheat(x):
    global _calls
    _calls += 1
    return honest(x) if _calls <= 4 else torch.empty_like(x)
""",
        (Status.WRONG_OUTPUT,),
    ),
    "remembers results by address": Exploit(
        """
_kept = {}


def cheat(x):
    if x.data_ptr() not in _kept:
        _kept[x.data_ptr()] = honest(x).clone()
    return _kept[x.data_ptr()].clone()
""",
        (Status.WRONG_OUTPUT,),
    ),
    "remembers results by address and one value": Exploit(
        """
_kept = {}


def cheat(x):
    key = (x.data_ptr(), float(x.view(-1)[0]))
    if key not in _kept:
        _kept.clear()
        _kept[key] = honest(x).clone()
    return _kept[key].clone()
""",
        (Status.PASS, Status.IMPLAUSIBLE),  # every call has other values: it gains nothing
    ),
    "patches the clocks": Exploit(
        """
class _Fast:
    def __init__(self, *args, **kwargs):
        self.real = _Real(*args, **kwargs)

    def record(self, *args):
        self.real.record(*args)

    def elapsed_time(self, other):
        return self.real.elapsed_time(other.real) / 20


_Real, torch.Event = torch.Event, _Fast
torch.accelerator.synchronize = lambda *args: None


def cheat(x):
    return honest(x)
""",
        (Status.PASS,),  # the clocks were taken hold of before it was imported: it gains nothing
    ),
}


def cheating(program: Program, exploit: Exploit) -> Program:
    """`program` with the exploit's launcher in place of its own."""
    name = program.launcher
    source = program.sources[-1]
    text = f"\n\nhonest = {name}\n{exploit.text}\n\n{name} = cheat\n"
    changed = source.model_copy(update={"body": source.body + text})
    return program.model_copy(update={"sources": (*program.sources[:-1], changed)})


def first_choice(
    task: Task, target: Target, workers: Workers, cache: CompileCache
) -> TemplateCandidate:
    """What the model would choose."""
    choices, _ = choose(Generator(task, backend_named(target.backend), target), workers, cache)
    return choices[0].candidate


def lie(
    exploit: Exploit,
    honest: TemplateCandidate,
    task: Task,
    workers: Workers,
    cache: CompileCache,
    judge: Judge,
    plan: Plan,
) -> dict[str, Any]:
    """How `honest` ends, timed in a fresh process with the exploit's launcher."""
    workload = task.workloads()[0]
    case = judge.case(task, workload, honest.precision)
    program = honest.program(workload)
    artifact = compile_program(workers, honest.backend, program, cache, 120.0)
    executor = next(
        e
        for e in honest.backend.executors()
        if e.role == "device" and e.kind is EvidenceKind.DEVICE
    )
    subject = Subject(
        task=task, precision=honest.precision, origin="source", case=case, inputs=case.inputs,
        program=cheating(program, exploit), artifact=artifact, executor=executor,
        profile=profile_of(honest.backend, honest.target), roll=True,
    )  # fmt: skip

    def right(inputs: Mapping[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
        seen = judge.case_of(task, workload, honest.precision, dict(inputs))
        comparison = judge.check(seen, list(outputs.values()))
        if not comparison.ok:
            raise WorkerFailure(Status.WRONG_OUTPUT, f"a timed call: {comparison.message}")

    with workers.lease(honest.backend, "device") as lease:
        lease.discard()
        try:
            timing, told = measure(
                subject, lease, workers, plan, right, random.SystemRandom(),
                timeout=60.0, compile_timeout=60.0,
            )  # fmt: skip
        except WorkerFailure as failure:
            return {"status": failure.status.value, "reason": failure.message}
        finally:
            lease.discard()
    return {"status": "pass", "reason": told, "timing": timing.model_dump(mode="json")}


def row_of(record: Record, seconds: float) -> dict[str, Any]:
    """One line of the table."""
    timed = [e for e in record.evidence if e.timing is not None]
    timing = timed[0].timing if timed else None
    return {
        "task": record.task, "target": str(record.target), "status": record.status.value,
        "reason": record.reason, "detail": timed[0].detail if timed else "",
        "timing": timing.model_dump(mode="json") if timing else None, "seconds": seconds,
    }  # fmt: skip


def flush_rows(honest: TemplateCandidate, task: Task, workers: Workers) -> list[dict[str, Any]]:
    """Median seconds of the probe's copy after each flush that is tried, by the device's events."""
    executor = next(e for e in honest.backend.executors() if e.role == "device")
    cache = last_level_cache(honest.backend, honest.target)
    program = honest.program(task.workloads()[0]).model_dump(mode="json")
    rows = []
    with workers.lease(honest.backend, "device") as lease:
        job = {"executor": executor.name, "program": program}
        driver = int(lease.call("timing", 60.0, ask="cache", **job))
        for factor in (0, 1, *FACTORS, CERTAIN):
            told = lease.call(
                "timing", 60.0, ask="probe", size=cache // 5, flush_bytes=factor * cache,
                repeats=15, **job,
            )  # fmt: skip
            median = float(np.median(told))
            reached = 2 * (cache // 5) / median
            rows.append({"factor": factor, "seconds": median, "bandwidth": reached, "cache": cache,
                         "cache by driver": driver, "executor": executor.name})  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]], lies: list[dict[str, Any]], flushes: list[dict]) -> str:
    """Markdown: honest kernels, lies, the flush."""
    lines = [
        "| task | target | status | median | 95 % | host | eager | torch.compile | floor | flush |",
        "\n" + "|---" * 10 + "|\n",
    ]
    for row in rows:
        timing = row["timing"]
        if timing is None:
            told = f"{row['status']}: {row['reason'][:200]}"
            lines.append(f"| {row['task']} | {row['target']} | {told} |||||||||\n")
            continue
        one = timing["candidate"]
        ratios = {b["name"]: f"{b['median'] / one['median']:.2f} x" for b in timing["baselines"]}
        share = f"{timing['floor'] / one['median']:.0%}" if timing["floor"] else ""
        lines.append(
            f"| {row['task']} | {row['target']} | {row['status']} | {one['median'] * 1e6:.1f} us "
            f"| {one['low'] * 1e6:.1f} to {one['high'] * 1e6:.1f} "
            f"| {timing['host_median'] * 1e6:.1f} us | {ratios.get('eager', '')} "
            f"| {ratios.get('torch.compile', '')} | {share} "
            f"| {'seen' if timing['flush_verified'] else 'not seen'} |\n"
        )
    lines.append("\n| lie | must end | ends | why |\n|---|---|---|---|\n")
    lines += [
        f"| {x['lie']} | {', '.join(x['ends'])} | {x['status']} | {x['reason'][:160]} |\n"
        for x in lies
    ]
    lines.append("\n| flush, times the cache | copy | reaches |\n|---|---|---|\n")
    lines += [
        f"| {x['factor']} | {x['seconds'] * 1e6:.2f} us | {x['bandwidth'] / 1e12:.2f} TB/s |\n"
        for x in flushes
    ]
    return "".join(lines)


def wrong(rows: list[dict[str, Any]], lies: list[dict[str, Any]]) -> list[str]:
    """What did not end as it must."""
    found = [f"{r['task']} -> {r['target']}: {r['reason']}" for r in rows if r["status"] != "pass"]
    return found + [f"{x['lie']}: {x['status']}" for x in lies if x["status"] not in x["ends"]]


class Bench:
    """Everything that is measured, written after each step."""

    def __init__(self, options: argparse.Namespace, workers: Workers) -> None:
        self.options, self.workers = options, workers
        self.cache = CompileCache()
        self.judge = Judge(scales, cache_bytes=32 << 30)
        self.rows: list[dict[str, Any]] = []
        self.lies: list[dict[str, Any]] = []
        self.flushes: list[dict[str, Any]] = []
        self.left_out: list[str] = []
        self.failed: list[str] = []

    def honest(self, name: str) -> None:
        """One task on every target."""
        task = find_task(name)
        compare = ("eager", "compile") if name in COMPILED else ("eager",)
        for text in TARGETS:
            started = time.monotonic()
            target = Target.parse(f"{text}@{self.options.device}")
            candidate = first_choice(task, target, self.workers, self.cache)
            settings = Settings(
                self.judge, self.cache, emulate=False, device=True, samples=20,
                timing_seconds=self.options.seconds, compare=compare,
            )  # fmt: skip
            record = evaluate(candidate, self.workers, settings)
            self.rows.append(row_of(record, time.monotonic() - started))
            print(json.dumps(self.rows[-1]), flush=True)

    def cheats(self) -> None:
        """Every exploit in a Triton launcher."""
        task = find_task(LIED_OF).model_copy(update={"bench": dict(LIED_SIZES)})
        target = Target.parse(f"{TARGETS[1]}@{self.options.device}")
        honest = first_choice(task, target, self.workers, self.cache)
        plan = Plan(samples=12, seconds=self.options.seconds, checks=2)
        for name, exploit in EXPLOITS.items():
            found = lie(exploit, honest, task, self.workers, self.cache, self.judge, plan)
            ends = [status.value for status in exploit.ends]
            self.lies.append({"lie": name, "ends": ends, **found})
            print(json.dumps(self.lies[-1]), flush=True)

    def probe(self) -> None:
        """The flush as the first target's executor sees it."""
        task = find_task(TASKS[0])
        target = Target.parse(f"{TARGETS[0]}@{self.options.device}")
        honest = first_choice(task, target, self.workers, self.cache)
        self.flushes = flush_rows(honest, task, self.workers)

    def step(self, name: str, work: Callable[[], None]) -> None:
        """Does `work` where the budget allows it; a fault of ours is told and ends nothing."""
        spent = time.monotonic() - self.options.started
        if spent > self.options.budget:
            self.left_out.append(name)
            return
        try:
            work()
        except Exception as error:
            traceback.print_exc()
            self.failed.append(f"{name}: {type(error).__name__}: {error}")
        self.write()

    def write(self) -> None:
        """The state so far."""
        result = {
            "device": self.options.device, "rows": self.rows, "lies": self.lies,
            "flush": self.flushes, "left_out": self.left_out, "failed": self.failed,
        }  # fmt: skip
        (self.options.out / "timing.json").write_text(json.dumps(result, indent=1))
        (self.options.out / "timing.md").write_text(table(self.rows, self.lies, self.flushes))


def main() -> int:
    """Measures; 1 when something did not end as it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each timing")
    parser.add_argument("--budget", type=float, default=130.0, help="after which no step begins")
    parser.add_argument("--task", action="append")
    options = parser.parse_args()
    options.started = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    tasks = options.task or TASKS
    with Workers(4) as workers:
        bench = Bench(options, workers)
        bench.step("flush", bench.probe)
        for name in tasks[:2]:
            bench.step(name, lambda name=name: bench.honest(name))  # type: ignore[misc]
        bench.step("lies", bench.cheats)
        for name in tasks[2:]:
            bench.step(name, lambda name=name: bench.honest(name))  # type: ignore[misc]
        bench.write()
    faults = [*bench.failed, *wrong(bench.rows, bench.lies)]
    print(table(bench.rows, bench.lies, bench.flushes))
    print(f"left out: {', '.join(bench.left_out) or 'nothing'}")
    print("as it must be" if not faults else "\n".join(f"NOT as it must be: {f}" for f in faults))
    print(f"{time.monotonic() - options.started:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

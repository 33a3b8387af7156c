"""What the protocol costs beside the kernel: `python benchmarks/overhead.py [--count 10]`.

One small template kernel on `hip` through the whole protocol, workers and compiler caches warm,
and the same text as a stranger's (a fresh confined child for each job) by a pool of two workers
that ask for correctness only. Last, what each layer of confinement adds to the start of a process.
Figures are wall seconds, and seconds of CPU of this process and all its children.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mkgen.codegen.candidate import Generator, scales
from mkgen.codegen.registry import backend_named
from mkgen.errors import MissingError
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.confine import layers
from mkgen.evaluate.confine.limits import WorkerLimits
from mkgen.evaluate.confine.view import view_of
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings, evaluate
from mkgen.target import Target
from mkgen.task import find_task
from mkgen.tune.choose import choose


def used_cpu() -> float:
    """Seconds of CPU of this process and of those that it has waited for."""
    both = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def protocol(task_name: str, count: int) -> None:
    """Times the whole protocol for a template, and correctness alone for a stranger's text."""
    task, backend = find_task(task_name), backend_named("hip")
    target = Target(backend="hip", arch=backend.default_arch)
    settings = Settings(Judge(scales), CompileCache())
    with Workers(2) as workers:
        choices, _ = choose(Generator(task, backend, target), workers, settings.cache)
        candidate = choices[0].candidate
        evaluate(candidate, workers, settings)
        walls = []
        for _ in range(3):
            started = time.perf_counter()
            record = evaluate(candidate, workers, settings)
            walls.append(time.perf_counter() - started)
        print(
            f"{task_name} on {target}, template, {workers.confinement.name}: {record.status.value} "
            f"in {statistics.median(walls):.2f} s ({min(walls):.2f} to {max(walls):.2f}), warm"
        )
        foreign = dataclasses.replace(candidate, origin="source")
        evaluate(foreign, workers, settings)
        before, started = used_cpu(), time.perf_counter()
        with ThreadPoolExecutor(2) as threads:
            done = list(threads.map(lambda _: evaluate(foreign, workers, settings), range(count)))
        wall = time.perf_counter() - started
        print(
            f"{count} foreign candidates, 2 workers: {count / wall:.2f} a second, "
            f"{(used_cpu() - before) / count:.2f} s of CPU each; "
            f"{ {record.status.value for record in done} }"
        )


def confinement(count: int) -> None:
    """Times the start of an empty Python process, bare and in each layer."""
    with tempfile.TemporaryDirectory() as made:
        work, base = Path(made, "work"), Path(made, "root")
        work.mkdir()
        base.mkdir()
        view = view_of({}, [work], [], (), [])
        empty = [sys.executable, "-I", "-S", "-c", "pass"]
        commands = {"no confinement": empty}
        for name in layers.NAMES:
            try:
                layer = layers.only(name)
            except MissingError as error:
                print(f"{name}: {error}")
                continue
            limits = WorkerLimits(1 << 30)
            commands[name] = layer.command(empty, view, work, base, limits)
        for name, command in commands.items():
            walls, before = [], used_cpu()
            for _ in range(count):
                started = time.perf_counter()
                subprocess.run(command, check=True)
                walls.append(time.perf_counter() - started)
            cpu = (used_cpu() - before) / count
            print(f"{name}: {min(walls) * 1e3:.0f} ms at best, {cpu * 1e3:.0f} ms of CPU")


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="relu")
    parser.add_argument("--count", type=int, default=10)
    options = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    confinement(options.count)
    protocol(options.task, options.count)


if __name__ == "__main__":
    main()

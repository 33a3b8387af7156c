"""A run of many foreign candidates, one in ten of which misbehaves: `storm_support.py RUN COUNT`.

The same loop as a command's: what the store holds already is kept, the rest is evaluated by two
threads, and each record is stored as soon as it is made.
"""

from __future__ import annotations

import dataclasses
import queue
import sys
import threading
from pathlib import Path

from evaluate_support import PROFILE, TASK, FakeBackend, FakeCandidate, make_settings

from mkgen.codegen.backend import Arch
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.confine.limits import WorkerLimits
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import evaluate
from mkgen.evaluate.store import RunStore

#: What one in ten does, and how it ends.
FAULTS = {
    "abort": "crashed",
    "hang-with-child": "timed-out",
    "memory": "out-of-memory",
    "forks": "over-limit",
    "writes": "over-limit",
}
LIMITS = WorkerLimits(400 << 20, processes=100, disk_bytes=32 << 20)


def behaviour(number: int) -> str:
    """What candidate `number` does."""
    return list(FAULTS)[number // 10 % len(FAULTS)] if number % 10 == 3 else "right"


def main(run: Path, count: int) -> None:
    """Evaluates what is left of `count` candidates."""
    profile = run / "fake1.toml"
    profile.write_text(PROFILE)
    FakeBackend.archs = {"one": Arch("one", "Fake One", 32, str(profile))}
    settings = make_settings(run_timeout=60.0, cache=CompileCache(run / "cache"))
    short = dataclasses.replace(settings, run_timeout=4.0)  # for those that do nothing else
    store = RunStore(run)
    finished = {record.task for record in store.records()}
    waiting: queue.SimpleQueue[FakeCandidate] = queue.SimpleQueue()
    for number in range(count):
        # a task of its own each, so that records differ and compiled files do not
        task = TASK.model_copy(update={"name": f"double{number}"})
        if task.name not in finished:
            waiting.put(FakeCandidate(behaviour(number), task=task, origin="source"))
    with Workers(2, limits=LIMITS, hidden=[run]) as workers:

        def work() -> None:
            while True:
                try:
                    candidate = waiting.get_nowait()
                except queue.Empty:
                    return
                hangs = candidate.behaviour.startswith("hang")
                store.append(evaluate(candidate, workers, short if hangs else settings))

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

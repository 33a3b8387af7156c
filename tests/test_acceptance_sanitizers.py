"""Sanitizers on everything the templates make for CUDA and HIP: a finding is a bug, theirs or ours.

`pytest -m acceptance -s tests/test_acceptance_sanitizers.py`; an hour on two cores, less where the
builds are kept from an earlier run.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest
from matrix_support import TASKS, best_by_estimate, default_target, generator

from mkgen.codegen.registry import backend_named
from mkgen.errors import ExecutionError
from mkgen.evaluate.inputs import draw, reference_call
from mkgen.evaluate.sanitizing import sanitized_sizes
from mkgen.program import GIVEN
from mkgen.record import EvidenceKind


def sanitize(task: str, backend: str) -> tuple[int, list[str]]:
    """Runs of every sanitizer of `backend` that a CPU has, and what they found in `task`."""
    candidate = best_by_estimate(generator(task, default_target(backend)))
    workloads = candidate.task.workloads()[1:]
    sizes = sanitized_sizes([(w, candidate.program(w)) for w in workloads], trusted=True)
    runs, found = 0, []
    for executor in backend_named(backend).executors():
        if executor.kind is not EvidenceKind.SANITIZED or executor.role != "emulate":
            continue
        for workload, program in sizes:
            assert executor.accepts(program) is None
            values = draw(candidate.task, workload, 0)
            values |= reference_call(candidate.task, workload.sizes).parameters
            inputs = {b.name: values[b.name] for b in program.with_role(*GIVEN)}
            with tempfile.TemporaryDirectory() as directory:
                loaded = executor.load(program, None, Path(directory))
                try:
                    for schedule in executor.orders(program):
                        runs += 1
                        loaded.run(inputs, schedule)
                except ExecutionError as error:
                    found.append(f"{task} {backend} {workload.name} {executor.name}: {error}")
                finally:
                    loaded.close()
    return runs, found


@pytest.mark.acceptance
@pytest.mark.parametrize("backend", ["cuda", "hip"])
def test_nothing_is_found_in_what_templates_make(backend: str) -> None:
    runs, found = 0, []
    for task in TASKS:
        started = time.monotonic()
        more, here = sanitize(task, backend)
        runs += more
        found += here
        print(f"{backend} {task}: {more} runs, {time.monotonic() - started:.1f} s {here or ''}")
    print(f"{backend}: {len(TASKS)} tasks, {runs} runs, {len(found)} findings")
    assert not found, "\n".join(found)

"""One text, many sizes: the body of a program never depends on the workload."""

from __future__ import annotations

import pytest

from mkgen.evaluate.programs import Programs
from mkgen.program import Program
from tests.golden_sources import GOLDEN_TASKS
from tests.matrix_support import (
    BACKENDS,
    TARGETS,
    TASKS,
    best_by_estimate,
    default_target,
    generator,
    programs,
    spread,
)
from tests.sampling import those

#: The usual target of every backend.
DEFAULTS = {str(default_target(b)) for b in BACKENDS}


def texts(program: Program) -> tuple[str, ...]:
    """Everything of the sources but the head comment and the size block."""
    return tuple(part for s in program.sources for part in (s.name, s.preamble, s.body))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", those(TASKS, GOLDEN_TASKS))
def test_body_is_the_same_for_every_workload(task: str, backend: str) -> None:
    made = generator(task, default_target(backend))
    for candidate in (best_by_estimate(made), *spread(made, 4)):
        rendered = list(programs(candidate))
        first = rendered[0]
        for program in rendered[1:]:
            assert texts(program) == texts(first), (candidate.request.parameters, program.workload)
            assert program.text_sha == first.text_sha
            assert program.launcher == first.launcher
        # and the sizes do differ: the block is where they went
        blocks = {p.sources[0].sizes for p in rendered}
        assert len(blocks) == len(rendered)


@pytest.mark.parametrize("target", those(TARGETS, DEFAULTS))
@pytest.mark.parametrize("task", those(TASKS, GOLDEN_TASKS))
def test_small_sizes_show_what_the_default_choice_needs(task: str, target: str) -> None:
    """Every loop twice and every tail: else the pass would say less than it seems to."""
    made = generator(task, target)
    candidate = best_by_estimate(made)
    workloads = made.task.workloads()
    small = tuple((w, candidate.program(w)) for w in workloads[1:])
    shown = Programs(workloads[0], candidate.program(workloads[0]), small)
    assert shown.uncovered() == "", candidate.request.parameters

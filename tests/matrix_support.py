"""What the tests over all tasks and backends share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.codegen.registry import backend_named
from mkgen.program import Program
from mkgen.target import Target
from mkgen.task import Task, find_task, task_files
from mkgen.tune.choose import rank
from mkgen.tune.model import estimate

BACKENDS = ("cuda", "hip", "triton", "pallas", "sycl", "opencl")
C_FAMILY = ("cuda", "hip", "sycl", "opencl")
TASKS = tuple(task_files())

#: One task of each category, and the recurrence: what tests over tasks take in the normal run.
SAMPLE = (
    "relu", "gru_2layer", "mlp", "causal_attention_fp16", "bias_gelu", "conv2d",
    "conv2d_bn_train_relu", "index_add_duplicates", "mse_loss", "cumsum", "matmul", "layer_norm",
    "adam", "max_pool2d_indices", "argmax_ties", "bilinear_resize",
)  # fmt: skip

#: For `parametrize`: the sample, and every other task in `make acceptance`.
EACH_TASK = tuple(
    task if task in SAMPLE else pytest.param(task, marks=pytest.mark.acceptance) for task in TASKS
)

#: Every target the acceptance criteria name; the first of a backend is its default arch.
TARGETS = (
    "cuda:sm_90a", "cuda:sm_80", "cuda:sm_100",
    "hip:gfx942", "hip:gfx90a", "hip:gfx950", "hip:gfx1100", "hip:gfx1201",
    "triton:sm_90", "triton:gfx942", "triton:gfx1100",
    "pallas:v5e", "pallas:v6e",
    "sycl:pvc",
    "opencl:cpu",
)  # fmt: skip


def default_target(backend: str) -> Target:
    """The target that `--backend` alone means."""
    return Target(backend=backend, arch=backend_named(backend).default_arch)


def generator(task: str | Task, target: Target | str) -> Generator:
    """Everything templates can make of `task` on `target`, at its bench sizes."""
    target = Target.parse(target) if isinstance(target, str) else target
    made = find_task(task) if isinstance(task, str) else task
    return Generator(made, backend_named(target.backend), target)


def best_by_estimate(made: Generator) -> TemplateCandidate:
    """The candidate the model prefers before anything is compiled; the first of equals.

    Of several kernels each is chosen by itself: all combinations would be a great many.
    """
    if len(made.kernels) > 1:
        return rank(made)[0].candidate
    scored = (
        (estimate(made, c, c.program(made.workload)).seconds, i, c)
        for i, c in enumerate(made.candidates())
    )
    return min(scored, key=lambda s: s[:2])[2]


def spread(made: Generator, count: int) -> list[TemplateCandidate]:
    """`count` legal candidates from one end of every kernel's parameter space to the other."""
    options = [made.options(k) for k in made.kernels]
    count = min(count, max(len(row) for row in options))
    places = [i / max(1, count - 1) for i in range(count)]
    return [made.chosen([row[int(p * (len(row) - 1))] for row in options]) for p in places]


def programs(candidate: TemplateCandidate) -> Iterator[Program]:
    """The candidate's program for every workload it is legal for, bench first."""
    from mkgen.errors import UnsupportedError

    for workload in candidate.task.workloads():
        try:
            yield candidate.program(workload)
        except UnsupportedError:
            if workload.role == "bench":
                raise

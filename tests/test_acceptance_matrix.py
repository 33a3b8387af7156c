"""The whole matrix: every task on every backend, and every compile target (make acceptance)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from mkgen.codegen.candidate import lowered, scales
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.jobs import compile_program
from mkgen.evaluate.limits import artifact_excess, launch_excess, target_limits
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.protocol import Settings, evaluate
from mkgen.program import Artifact, Program
from mkgen.record import EvidenceKind, Record, Status
from mkgen.target import Target
from mkgen.task import find_task
from mkgen.tune.choose import choose
from tests.matrix_support import BACKENDS, TARGETS, TASKS, default_target, generator, spread
from tests.test_codegen_launchers import check

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(6 * 3600)]

#: Two toolchains at once: the machine that runs this has two cores.
JOBS = 2

#: Longest task name, for the printed tables.
WIDTH = max(len(task) for task in TASKS) + 2

#: What `Artifact.checked` must say: words of the check, then how the arch is written in it.
CHECKED = {
    "cuda:sm_80": ("sm_80",), "cuda:sm_90a": ("sm_90a",), "cuda:sm_100": ("sm_100",),
    "hip:gfx90a": ("EF_AMDGPU_MACH 0x3f",), "hip:gfx942": ("EF_AMDGPU_MACH 0x4c",),
    "hip:gfx950": ("EF_AMDGPU_MACH 0x4f",), "hip:gfx1100": ("EF_AMDGPU_MACH 0x41",),
    "hip:gfx1201": ("EF_AMDGPU_MACH 0x4e",),
    "triton:sm_90": ("e_machine 190", "SM 90"), "triton:gfx942": ("e_machine 224", "0x4c"),
    "triton:gfx1100": ("e_machine 224", "0x41"),
    "pallas:v5e": ("v5e",), "pallas:v6e": ("v6e",),
    "sycl:pvc": ("SPIR-V",),
    "opencl:cpu": ("x86-64",),
}  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """What every evaluation of this file shares."""

    workers: Workers
    settings: Settings
    cache: CompileCache


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Workers and caches of its own: nothing is written outside pytest's directory."""
    directory = tmp_path_factory.mktemp("cache")
    patch = pytest.MonkeyPatch()
    patch.setenv("MKGEN_CACHE", str(directory))
    cache = CompileCache(directory)
    for task in TASKS:  # torch and its export are not made for two threads at once
        lowered(find_task(task))
    with Workers(JOBS) as workers:
        yield Bench(workers, Settings(Judge(scales), cache), cache)
    patch.undo()


def evaluated(bench: Bench, task: str, backend: str) -> tuple[Record, Artifact | None, str]:
    """The record of the chosen candidate, its artifact, and what of it exceeds the device."""
    made = generator(task, default_target(backend))
    choices, _ = choose(made, bench.workers, bench.cache)
    candidate = choices[0].candidate
    record = evaluate(candidate, bench.workers, bench.settings)
    artifact = record.artifacts[0] if record.artifacts else None
    program = candidate.program(made.workload)
    limits = target_limits(made.backend, made.target)
    excess = launch_excess(program, limits)
    if artifact is not None:
        excess = excess or artifact_excess(program, artifact, limits)
    return record, artifact, excess


def fault(record: Record, artifact: Artifact | None, excess: str) -> str:
    """What keeps a cell of the matrix from counting; empty when nothing does."""
    if record.status is not Status.PASS:
        return f"{record.status.value}: {record.reason[:200]}"
    if artifact is None or not record.has(EvidenceKind.COMPILED):
        return "no artifact"
    if excess:
        return excess
    roles = {r.role for r in record.results if r.status is Status.PASS}
    if not {"check", "heldout"} <= roles:
        return f"seen right on {sorted(roles)} only"
    seen = [e for e in record.evidence if e.kind is EvidenceKind.EMULATED]
    if not seen or not record.text_sha:
        return "no emulated evidence"
    workloads = {w for e in seen for w in e.workloads}
    if not any(w.startswith("check") for w in workloads) or not any(
        w.startswith("heldout") for w in workloads
    ):
        return f"emulated on {sorted(workloads)} only"
    return ""


def test_every_task_passes_on_every_backend(bench: Bench) -> None:
    """Every cell: one text, compiled within the device's limits, right on check and held-out."""
    cells = [(t, b) for t in TASKS for b in BACKENDS]
    started = time.monotonic()

    def cell(at: tuple[str, str]) -> str:
        task, backend = at
        begun = time.monotonic()
        try:
            record, artifact, excess = evaluated(bench, task, backend)
        except (WorkerFailure, ValueError, RuntimeError) as error:
            problem, share = f"{type(error).__name__}: {error}", 0.0
        else:
            problem = fault(record, artifact, excess)
            share = record.error.share if record.error else 0.0
        taken = time.monotonic() - begun
        verdict = problem or f"pass, error {share:.2f} of the budget"
        print(f"{task:{WIDTH}}{backend:8}{taken:6.1f} s  {verdict}", flush=True)
        return problem

    with ThreadPoolExecutor(JOBS) as threads:
        problems = dict(zip(cells, threads.map(cell, cells), strict=True))
    print_matrix(problems, time.monotonic() - started)
    failed = {f"{t} on {b}": p for (t, b), p in problems.items() if p}
    assert len(problems) == len(TASKS) * 6 >= 60 * 6
    assert not failed, failed


def print_matrix(problems: dict[tuple[str, str], str], seconds: float) -> None:
    """One row per task, one column per backend."""
    print(f"\n{'':{WIDTH}}" + "".join(f"{b:>8}" for b in BACKENDS))
    for task in TASKS:
        row = ("FAIL" if problems[task, b] else "pass" for b in BACKENDS)
        print(f"{task:{WIDTH}}" + "".join(f"{cell:>8}" for cell in row))
    right = sum(not p for p in problems.values())
    print(f"{right} of {len(problems)} pass, {seconds / 60:.1f} minutes")


def test_launchers_of_every_target_only_lay_out() -> None:
    """Over all programs: Glue is layout, no launcher computes on arrays, C has no Glue."""
    count = 0
    for text in TARGETS:
        for task in TASKS:
            made = generator(task, text)
            for candidate in spread(made, 6):
                check(candidate.program(made.workload), made.target.backend)
                count += 1
    print(f"\n{count} launchers do layout only")
    assert count >= len(TASKS) * len(TARGETS)


def resources_fault(target: Target, program: Program, artifact: Artifact) -> str:
    """What the compiler of `target` should have said of each kernel and did not."""
    if target.backend not in ("cuda", "hip", "triton"):
        return ""
    for launch in program.launches:
        found = artifact.resources.get(launch.entry)
        if found is None:
            return f"no resources of {launch.entry}"
        spills = found.spilled_registers is not None or found.spill_bytes is not None
        if not found.registers or found.shared_bytes is None or not spills:
            return f"{launch.entry}: registers, spills or shared memory not recorded: {found}"
    return ""


def test_every_task_compiles_for_every_target(bench: Bench) -> None:
    """Every artifact is seen to hold its arch's code, with the resources its compiler states."""

    def cell(at: tuple[str, str]) -> str:
        text, task = at
        made = generator(task, text)
        try:
            choices, _ = choose(made, bench.workers, bench.cache, compile_count=1)
            program = choices[0].candidate.program(made.workload)
            # from the cache: `choose` compiled it
            artifact = compile_program(bench.workers, made.backend, program, bench.cache, 300.0)
        except (WorkerFailure, ValueError, RuntimeError) as error:
            return f"{type(error).__name__}: {error}"
        missing = [w for w in CHECKED[text] if w not in artifact.checked]
        if missing or artifact.arch != made.target.arch:
            return f"arch {artifact.arch}, checked {artifact.checked!r} lacks {missing}"
        if not Path(artifact.path).is_file():
            return f"no file {artifact.path}"
        return resources_fault(made.target, program, artifact)

    cells = [(text, task) for task in TASKS for text in TARGETS]
    with ThreadPoolExecutor(JOBS) as threads:
        problems = dict(zip(cells, threads.map(cell, cells), strict=True))
    print("\ncompiles for " + ", ".join(TARGETS))
    for task in TASKS:
        row = ("FAIL" if problems[text, task] else "yes" for text in TARGETS)
        print(f"{task:{WIDTH}}" + "".join(f" {c:>5}" for c in row))
    failed = {f"{t} for {a}": p for (a, t), p in problems.items() if p}
    print(f"{len(problems) - len(failed)} of {len(problems)} compile")
    assert not failed, failed

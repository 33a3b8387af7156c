"""Packages for tests: rendered programs, a record of what was seen, and runs without mkgen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.codegen.registry import backend_named
from mkgen.document import content_hash
from mkgen.package import package_name, write_package
from mkgen.program import Artifact, Program, Resources
from mkgen.record import (
    ErrorFigures,
    Evidence,
    EvidenceKind,
    RanOn,
    Record,
    Status,
    WorkloadResult,
)
from mkgen.target import Target
from mkgen.task import Task, find_task

BACKENDS = ("cuda", "hip", "opencl", "pallas", "sycl", "triton")
FORMATS = {"cuda": "cubin", "hip": "hsaco", "opencl": "opencl-binary", "pallas": "tpu",
           "sycl": "spirv", "triton": "cubin"}  # fmt: skip

#: Nothing of mkgen can be imported in a process that starts with this.
BLOCKER = """
import sys


class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0].startswith("mkgen"):
            raise ImportError(f"{name} must not be imported by a package")


sys.meta_path.insert(0, Blocker())
"""


def candidate(task: str | Task, backend_name: str, arch: str = "") -> TemplateCandidate:
    """The first legal candidate that also fits the task's check sizes."""
    backend = backend_named(backend_name)
    target = Target(backend=backend_name, arch=arch or backend.default_arch)
    found = task if isinstance(task, Task) else find_task(task)
    return next(Generator(found, backend, target).candidates())


def artifact(program: Program, directory: Path) -> Artifact:
    """A stand-in for what a compiler gives: a file with a hash, resources, and a listing."""
    directory.mkdir(parents=True, exist_ok=True)
    path, isa = directory / f"{program.task}.bin", directory / f"{program.task}.s"
    path.write_bytes(b"\x00code")
    isa.write_text("s_endpgm\n")
    figures = Resources(registers=26, spilled_registers=0, shared_bytes=1024)
    return Artifact(
        arch=program.target.arch, format=FORMATS[program.target.backend],  # type: ignore[arg-type]
        path=str(path), sha=content_hash("code"), isa_path=str(isa), compiler="cc 1",
        resources={launch.entry: figures for launch in program.launches}, compiler_sha="0" * 64,
        command=f"cc -I {directory}/include {path}", checked="ELF",
        seconds=directory.stat().st_mtime,
    )  # fmt: skip


def record(program: Program, made: Artifact | None, seconds: float = 1.5) -> Record:
    """A record of a candidate that was compiled and seen to be right on a CPU."""
    figures = ErrorFigures(max_abs=1e-6, max_rel=1e-5, budget=4e-6, share=0.25)
    cpu = RanOn(vendor="cpu", arch="x86_64", name="A CPU")
    seen = Evidence(
        kind=EvidenceKind.EMULATED, executor="emulator", executed=f"source {program.text_sha}",
        compiler="c++ 1", compiler_sha="1" * 64, ran_on=cpu, workloads=("check1", "heldout1"),
        cannot_see=("speed",),
    )  # fmt: skip
    results = tuple(
        WorkloadResult(
            workload=name, role=name[:-1], executor="emulator", schedule="", status=Status.PASS,
            error=figures, seconds=seconds,
        )
        for name in seen.workloads
    )  # fmt: skip
    return Record(
        task=program.task, task_hash=program.task_hash, target=program.target,
        precision=program.precision, status=Status.PASS, evidence=(seen,), results=results,
        error=figures, parameters=dict(program.variant.parameters), variant=program.variant,
        text_sha=program.text_sha, artifacts=(made,) if made else (), seconds=seconds,
        mkgen_version="0.1.0",
    )  # fmt: skip


def package(
    made: TemplateCandidate, root: Path, workload: str = "bench", scratch: str = "scratch"
) -> tuple[Path, Program, Record, tuple[str, ...]]:
    """Writes a package under `root`; its directory, program, record and the names returned."""
    chosen = next(w for w in made.task.workloads() if w.name == workload)
    program = made.program(chosen)
    built = artifact(program, root.parent / f"{scratch}-{root.name}")
    judged = record(program, built, seconds=float(len(scratch)))
    directory = root / package_name(program.task, program.target)
    names = write_package(directory, made, program, judged, built)
    return directory, program, judged, names


def run(
    directory: Path, *arguments: str, timeout: float = 300, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs this Python in `directory`, where mkgen cannot be imported."""
    blocker = directory.parent / "blocker"
    blocker.mkdir(exist_ok=True)
    (blocker / "sitecustomize.py").write_text(BLOCKER)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MKGEN"))}
    environment |= {"PYTHONPATH": str(blocker), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    return subprocess.run(
        [sys.executable, *arguments], cwd=directory, env=environment, timeout=timeout,
        capture_output=True, text=True, check=False,
    )  # fmt: skip

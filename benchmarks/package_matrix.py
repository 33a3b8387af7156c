"""Packages of every task, tested by their own tests where mkgen cannot be imported.

    python benchmarks/package_matrix.py --out DIR [--task T ...] [--target B:A ...] [--without DIR]

For a machine with one NVIDIA GPU. A package is written for the bench size, compiled but not run by
mkgen; its build.sh makes what it needs; then `test_TASK.py` compares it with PyTorch in a process
whose PYTHONPATH has lost every directory with mkgen's code (and what `--without` names). Writes
DIR/packages.jsonl at once, where it also finds what is done already; DIR/packages keeps the
packages that were not right. With NVCC unset, nvcc is looked for on PATH and in /usr/local/cuda.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from mkgen.codegen.candidate import Generator, scales
from mkgen.codegen.registry import backend_named
from mkgen.errors import MkgenError
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.protocol import Settings, evaluate
from mkgen.package import package_name, write_package
from mkgen.target import Target
from mkgen.task import find_task, task_files
from mkgen.tune.choose import choose

TARGETS = ("cuda:sm_90a", "triton:sm_90", "pallas:sm_90", "opencl:sm_90")
#: What `test_TASK.py` ends with; anything else is a crash.
VERDICTS = {0: "right", 1: "wrong", 3: "cannot run"}
ATTEMPTS = 3
_OURS = ("mkgen", *(f"mkgen_{b}" for b in ("simt", "cuda", "triton", "pallas", "opencl")))


@dataclass(frozen=True)
class Row:
    """One package."""

    task: str
    target: str
    verdict: str
    """right, wrong, cannot run, crashed, too slow, not built, no package."""
    seconds: float = 0.0
    """Of the test's process, start and imports included."""
    build_seconds: float = 0.0
    write_seconds: float = 0.0
    """Until the package was written: choice, compilation, the test's tolerance."""
    reason: str = ""


def outside(without: list[Path]) -> dict[str, str]:
    """The environment of a process that cannot import mkgen. SystemExit when it still could."""
    gone = {path.resolve() for path in without}
    entries = [Path(p) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    kept = [
        str(p.resolve())
        for p in entries
        if p.resolve() not in gone and not any((p / name).is_dir() for name in _OURS)
    ]
    hidden = {k: v for k, v in os.environ.items() if not k.startswith("MKGEN_")}
    environment = {**hidden, "PYTHONPATH": os.pathsep.join(kept)}
    if not environment.get("NVCC") and shutil.which("nvcc") is None:
        environment["NVCC"] = "/usr/local/cuda/bin/nvcc"
    probe = f"import importlib.util as u; print([n for n in {_OURS!r} if u.find_spec(n)])"
    found = subprocess.run(
        [sys.executable, "-c", probe], cwd="/", env=environment, capture_output=True, text=True,
        check=True,
    ).stdout.strip()  # fmt: skip
    if found != "[]":
        raise SystemExit(f"{found} can be imported without PYTHONPATH; name where by --without")
    return environment


def write(task_name: str, target: Target, root: Path, tools: Tools) -> Path:
    """The package of the best choice that compiles. MkgenError or WorkerFailure without one."""
    generator = Generator(find_task(task_name), backend_named(target.backend), target)
    choices, _ = choose(generator, tools.workers, tools.settings.cache)
    reason = "nothing to choose from"
    for choice in choices[:ATTEMPTS]:
        record = evaluate(choice.candidate, tools.workers, tools.settings)
        if record.artifacts:
            program = choice.candidate.program(generator.workload)
            directory = root / package_name(task_name, target)
            write_package(directory, choice.candidate, program, record, record.artifacts[0])
            return directory
        reason = f"{record.status.value}: {record.reason}"
    raise MkgenError(reason)


@dataclass(frozen=True)
class Tools:
    """What all packages are made with, and where they are tested."""

    workers: Workers
    settings: Settings
    environment: dict[str, str]
    limit: float
    """Seconds for a build, and for a test."""

    def run(self, directory: Path, *command: str) -> tuple[int, str, float]:
        """Exit status, the end of what it said, and seconds."""
        started = time.monotonic()
        try:
            done = subprocess.run(
                command, cwd=directory, env=self.environment, timeout=self.limit,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return 124, f"longer than {self.limit:.0f} s", time.monotonic() - started
        said = done.stdout + done.stderr if done.returncode else done.stdout
        return done.returncode, said.strip()[-1500:], time.monotonic() - started


def one(task_name: str, target: Target, root: Path, tools: Tools) -> Row:
    """Writes, builds and tests one package."""
    started = time.monotonic()
    try:
        directory = write(task_name, target, root, tools)
    except (MkgenError, WorkerFailure) as error:
        return Row(task_name, str(target), "no package", reason=f"{type(error).__name__}: {error}")
    except Exception:  # a fault of ours in one package must not end the others
        return Row(task_name, str(target), "no package", reason=traceback.format_exc()[-1500:])
    written = time.monotonic() - started
    built = 0.0
    if target.backend == "cuda":  # the others compile when they are called
        status, said, built = tools.run(directory, "bash", "build.sh")
        if status:
            return Row(task_name, str(target), "not built", 0.0, built, written, said)
    status, said, seconds = tools.run(directory, sys.executable, f"test_{task_name}.py")
    verdict = "too slow" if status == 124 else VERDICTS.get(status, "crashed")
    # Python also ends with 1 after an exception, and then no output was compared
    if verdict == "wrong" and "FAIL:" not in said:
        verdict = "crashed"
    if verdict == "right":
        shutil.rmtree(directory)
    return Row(task_name, str(target), verdict, seconds, built, written, said)


def table(rows: list[Row]) -> str:
    """Right ones of all per target, then each that is not, and the slowest tests."""
    text = ""
    for target in dict.fromkeys(r.target for r in rows):
        mine = [r for r in rows if r.target == target]
        counts = Counter(r.verdict for r in mine)
        others = ", ".join(f"{n} {v}" for v, n in counts.items() if v != "right")
        slowest = max(mine, key=lambda r: r.seconds)
        text += f"{target}: {counts['right']} of {len(mine)} right{', ' if others else ''}{others}"
        text += f"; slowest test {slowest.task}, {slowest.seconds:.1f} s\n"
    for row in rows:
        if row.verdict != "right":
            last = (row.reason.splitlines() or [""])[-1]
            text += f"  {row.task} {row.target} {row.verdict}: {last[:200]}\n"
    return text


def _read(path: Path) -> list[Row]:
    lines = path.read_text().splitlines() if path.is_file() else []
    return [Row(**json.loads(line)) for line in lines]


def main() -> None:
    """Runs the matrix."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--task", action="append")
    parser.add_argument("--target", action="append")
    parser.add_argument("--shard", default="0/1", help="I/N: every N-th task from the I-th on")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds after which to stop")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for a build or a test")
    parser.add_argument(
        "--without", type=Path, action="append", default=[],
        help="a directory of PYTHONPATH that the tests must not see",
    )  # fmt: skip
    options = parser.parse_args()
    started = time.monotonic()
    root = options.out / "packages"
    root.mkdir(parents=True, exist_ok=True)
    first, step = map(int, options.shard.split("/"))
    mine = sorted(options.task or task_files())[first::step]
    journal = options.out / "packages.jsonl"
    known = {(r.task, r.target) for r in _read(journal)}
    environment = outside(options.without)
    settings = Settings(Judge(scales), CompileCache(), emulate=False)
    with Workers() as workers, journal.open("a") as rows:
        tools = Tools(workers, settings, environment, options.limit)
        for name in mine:
            for target in map(Target.parse, options.target or TARGETS):
                late = time.monotonic() - started > options.budget
                if late or (name, str(target)) in known:
                    continue
                row = one(name, target, root, tools)
                rows.write(json.dumps(asdict(row)) + "\n")
                rows.flush()
                print(
                    name, target, row.verdict, f"{row.write_seconds:.1f} + {row.build_seconds:.1f} "
                    f"+ {row.seconds:.1f} s", "" if row.verdict == "right" else row.reason,
                    flush=True,
                )  # fmt: skip
    print(table(_read(journal)) + f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

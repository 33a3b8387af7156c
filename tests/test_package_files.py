"""What lies in a package: complete, the same every time, and no more than was seen."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from package_support import BACKENDS, artifact, candidate, package, record

from mkgen.codegen.registry import backend_named
from mkgen.document import content_hash
from mkgen.errors import UserError
from mkgen.evaluate.wording import headline
from mkgen.package import write_package
from mkgen.package.reference import reference_file
from mkgen.profile import find_profile
from mkgen.record import Record
from mkgen.task import load_task

CASES = [(task, backend) for task in ("conv2d", "softmax") for backend in BACKENDS]
COMMON = {"LICENSE", "README.md", "build.sh", "model.py", "record.json", "reference.py"}
C_FAMILY = {
    "cuda": {"{task}.cu", "{task}_f32.h"},
    "hip": {"{task}.hip", "{task}_f32.h"},
    "opencl": {"{task}.cl", "{task}.c", "{task}_f32.h"},
    "sycl": {"{task}.cpp", "{task}_f32.hpp", "{task}_ctypes.cpp"},
    "triton": {"{task}.py"},
    "pallas": {"{task}.py"},
}


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(directory)): p.read_bytes()
        for p in sorted(directory.rglob("*"))
        if p.is_file()
    }


@pytest.mark.parametrize(("task", "backend"), CASES)
def test_holds_every_file_twice_the_same(task: str, backend: str, tmp_path: Path) -> None:
    made = candidate(task, backend)
    first, _, _, names = package(made, tmp_path / "a")
    second, _, _, _ = package(made, tmp_path / "b", scratch="elsewhere-scratch")
    found = contents(first)
    wanted = COMMON | {f"test_{task}.py", f"build/{task}.bin", f"build/{task}.s"}
    wanted |= {name.format(task=task) for name in C_FAMILY[backend]}
    assert found.keys() == wanted == set(names)
    assert found == contents(second)
    assert not [name for name, data in found.items() if str(tmp_path).encode() in data]
    assert (first / "build.sh").stat().st_mode & 0o100


@pytest.mark.parametrize(("task", "backend"), CASES)
def test_ships_the_text_that_was_judged(task: str, backend: str, tmp_path: Path) -> None:
    directory, program, judged, _ = package(candidate(task, backend), tmp_path / "a")
    parts = []
    for source in program.sources:
        text = (directory / source.name).read_text()
        kept = source.preamble + source.sizes + source.body
        assert text.endswith(kept)
        head = text.removesuffix(kept)
        assert all(len(line) <= 100 for line in head.splitlines())
        parts += [source.name, source.preamble, source.body]
        arch = backend_named(backend).archs[program.target.arch]
        told = headline(judged, find_profile(arch.profile).title).partition("    ")[2]
        flat = " ".join(line.lstrip("/# ").strip() for line in head.splitlines())
        assert told in flat
        assert "SPDX-License-Identifier: Apache-2.0" in head
        assert all(str(n) in head for b in program.buffers for n in b.shape)
    assert content_hash(*parts) == judged.text_sha
    stored = Record.model_validate_json((directory / "record.json").read_text())
    assert stored.text_sha == judged.text_sha
    assert stored.evidence == judged.evidence
    assert stored.artifacts[0].path == f"build/{task}.bin"
    assert stored.artifacts[0].command == f"cc -I include {task}.bin"


def modules_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


#: State, many parameters, loops: lines that do not fit.
LONG = [(task, backend) for task in ("batch_norm_train", "gru_2layer") for backend in BACKENDS]


@pytest.mark.parametrize(("task", "backend"), CASES + LONG)
def test_python_is_clean_and_needs_no_mkgen(task: str, backend: str, tmp_path: Path) -> None:
    directory, _, _, _ = package(candidate(task, backend), tmp_path / "a")
    own = {"model", "reference", task}
    allowed = {"torch", "jax", "numpy", "triton", "pyopencl", "pytest"} | own
    for path in sorted(directory.glob("*.py")):
        compile(path.read_text(), path.name, "exec")
        assert modules_of(path) <= allowed | sys.stdlib_module_names, path.name
    assert modules_of(directory / f"test_{task}.py") <= {
        "copy", "sys", "torch", "model", "reference", "pytest",
    }  # fmt: skip
    made = [str(directory / "model.py"), str(directory / f"test_{task}.py")]
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--select=E,F,W,I,B,UP,SIM"], ["format", "--diff"]):
        line = [*ruff, *command, "--isolated", "--line-length=100", "--no-cache", *made]
        done = subprocess.run(line, cwd=directory, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("backend", ["cuda", "hip", "opencl", "sycl"])
@pytest.mark.parametrize("task", ["conv2d", "softmax"])
def test_header_and_launcher_agree(task: str, backend: str, tmp_path: Path) -> None:
    directory, program, _, _ = package(candidate(task, backend), tmp_path / "a")
    header = next(p for p in directory.iterdir() if p.suffix in (".h", ".hpp")).read_text()
    pattern = rf"[\w:]+ {program.launcher}\([^)]*\)"
    declared = re.search(pattern + ";", header)
    defined = re.search(pattern + r"(?= \{)", program.sources[-1].body)
    assert declared is not None
    assert defined is not None
    assert declared[0].rstrip(";") == " ".join(defined[0].split())


@pytest.mark.parametrize("backend", ["cuda", "hip"])
@pytest.mark.parametrize(("compiler", "language"), [("cc", "c"), ("c++", "c++")])
def test_c_reads_the_header_of_a_16_bit_launcher(
    backend: str, compiler: str, language: str, tmp_path: Path
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    directory, program, _, _ = package(candidate("matmul_bf16", backend), tmp_path / "a")
    header = directory / f"{program.launcher}.h"
    # only what the vendor's headers give for sure: the stream, the error, the type in C++
    stream = "typedef struct s* cudaStream_t; typedef int cudaError_t;\n"
    bfloat = "struct __nv_bfloat16 { unsigned short bits; };\n"
    if backend == "hip":
        stream, bfloat = stream.replace("cuda", "hip"), bfloat.replace("nv", "hip")
    for name in re.findall(r"#include <((?:cuda|hip)\S+)>", header.read_text()):
        path = tmp_path / "include" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(stream if "runtime" in name else bfloat)
    line = [compiler, "-x", language, "-Wall", "-Werror", "-fsyntax-only", f"-I{tmp_path}/include"]
    done = subprocess.run([*line, header], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_c_launcher_compiles_against_its_header(tmp_path: Path) -> None:
    include = next(
        (d for d in (Path(sys.prefix) / "include", Path("/usr/include"))
         if (d / "CL/cl.h").is_file()), None,
    )  # fmt: skip
    compiler = shutil.which("cc")
    if include is None or compiler is None:
        pytest.skip("needs a C compiler and CL/cl.h (apt install gcc opencl-c-headers)")
    directory, _, _, _ = package(candidate("conv2d", "opencl"), tmp_path / "a")
    line = [compiler, "-std=c11", "-Wall", "-Werror", "-DCL_TARGET_OPENCL_VERSION=120",
            f"-I{include}", "-include", "conv2d_f32.h", "-c", "conv2d.c", "-o", "c.o"]  # fmt: skip
    done = subprocess.run(line, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_cuda_build_script_makes_a_library(tmp_path: Path) -> None:
    if shutil.which("nvcc") is None:
        pytest.skip("needs nvcc on PATH (a CUDA toolkit)")
    directory, _, _, _ = package(candidate("softmax", "cuda"), tmp_path / "a")
    done = subprocess.run([directory / "build.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"softmax_f32" in (directory / "build/libsoftmax_f32.so").read_bytes()


def test_new_text_takes_away_what_the_old_one_built(tmp_path: Path) -> None:
    made = candidate("softmax", "hip")
    directory, program, judged, _ = package(made, tmp_path / "a")
    library = directory / "build/libsoftmax_f32.so"
    library.write_bytes(b"built by hand")
    package(made, tmp_path / "a")
    assert library.exists()
    other = judged.model_copy(update={"mkgen_version": "0.2.0"})
    write_package(directory, made, program, other, None)
    assert not library.exists()
    assert not (directory / "build/softmax.bin").exists()
    assert json.loads((directory / "record.json").read_text())["mkgen_version"] == "0.2.0"


def test_refuses_what_it_did_not_judge_and_what_it_would_overwrite(tmp_path: Path) -> None:
    made = candidate("softmax", "hip")
    program = made.program(made.task.workloads()[0])
    built = artifact(program, tmp_path / "scratch")
    judged = record(program, built)
    other = judged.model_copy(update={"text_sha": "f" * 64})
    with pytest.raises(UserError, match="evaluate this program first"):
        write_package(tmp_path / "p", made, program, other, built)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds no package"):
        write_package(tmp_path / "mine", made, program, judged, built)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_an_old_record_removes_nothing_outside_its_package(tmp_path: Path) -> None:
    made = candidate("softmax", "hip")
    directory, program, judged, _ = package(made, tmp_path / "a")
    (tmp_path / "mine.txt").write_text("mine")
    stored = json.loads((directory / "record.json").read_text())
    stored["files"] += ["../../mine.txt", str(tmp_path / "mine.txt")]
    (directory / "record.json").write_text(json.dumps(stored))
    write_package(directory, made, program, judged, None)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_reference_keeps_the_users_text(tmp_path: Path) -> None:
    path = tmp_path / "scaled.py"
    path.write_text(textwrap.dedent('''\
        """Scaled."""
        import torch
        from mkgen.task import Task, Tensor

        FACTOR = 3  # a constant of the user's
        SHAPE = Tensor("N")

        def scaled(x):  # the user's own words
            return torch.relu(x * FACTOR)

        task = Task(name="scaled", category="math", reference=lambda x: scaled(x) + 0,
                    inputs={"x": SHAPE}, bench={"N": 8}, check=[{"N": 5}], heldout=[{"N": 3}])
        '''))  # fmt: skip
    made = reference_file(load_task(path))
    assert made.name == "reference"
    assert "def scaled(x):  # the user's own words" in made.text
    assert "FACTOR = 3  # a constant of the user's" in made.text
    assert "mkgen" not in made.text
    assert "Tensor" not in made.text
    namespace: dict[str, object] = {}
    exec(made.text, namespace)
    assert callable(namespace["reference"])


def test_a_reference_that_needs_mkgen_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text(textwrap.dedent("""\
        import torch
        from mkgen.task import Task, Tensor

        def bad(x):
            return torch.relu(x) if Tensor else x

        task = Task(name="bad", category="math", reference=bad, inputs={"x": Tensor("N")},
                    bench={"N": 8}, check=[{"N": 5}], heldout=[{"N": 3}])
        """))  # fmt: skip
    with pytest.raises(UserError, match=r"line 4: bad uses Tensor of mkgen"):
        reference_file(load_task(path))

"""Pallas: real TPU executables, the interpreters' checks, and refusals with the line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mkgen.codegen.candidate import Generator
from mkgen.errors import MissingError, WrongArchError
from mkgen.program import (
    Artifact,
    Buffer,
    BufferRole,
    Functional,
    Launch,
    Program,
    Source,
    Variant,
)
from mkgen.target import Target
from mkgen.task import find_task
from mkgen.tune.choose import rank
from mkgen_pallas import PallasBackend
from mkgen_pallas.archs import check_program, find_arch, read_stamp

ROOT = Path(__file__).parent.parent
NOTES = ROOT / "docs" / "notes" / "pallas"
MARK = "# Sizes. Everything below follows from them.\n"


def program(
    arch: str,
    op: str,
    constants: dict[str, int],
    inputs: dict[str, tuple[str, tuple[int, ...]]],
    output: tuple[str, tuple[int, ...]],
    change: tuple[str, str] | None = None,
) -> Program:
    """The file of the notes for `op` with other sizes; `change` replaces one text in its body."""
    text = (NOTES / f"{'gpu' if arch == 'sm_90' else 'tpu'}_{op}.py").read_text()
    preamble, rest = text.split(MARK)
    head, body = re.split(r"(?=# Parameters of this variant|\n\ndef )", rest, maxsplit=1)
    if change:
        assert change[0] in body
        body = body.replace(*change)
    lines = []
    for line in head.splitlines():
        names, values = line.split(" = ", 1)
        parts = values.split(", ")
        known = [str(constants.get(n, v)) for n, v in zip(names.split(", "), parts, strict=True)]
        lines.append(f"{names} = {', '.join(known)}")
    roles = [(n, *spec, BufferRole.INPUT) for n, spec in inputs.items()]
    made = "c" if op == "matmul" else "y"
    roles.append((made, *output, BufferRole.OUTPUT))
    return Program(
        task=op, task_hash="0", workload="check", target=Target.parse(f"pallas:{arch}"),
        sources=(Source(name=f"{op}.py", language="pallas", head="", preamble=preamble,
                        sizes=MARK + "\n".join(lines) + "\n", body=body),),
        buffers=tuple(Buffer(name=n, dtype=d, shape=s, role=r) for n, d, s, r in roles),
        steps=(Launch(source=f"{op}.py", entry=f"{op}_kernel", args=(*inputs, made),
                      reads=tuple(inputs), writes=(made,), configuration=Functional()),),
        launcher=op, constants=constants,
        variant=Variant(templates=("pallas/rowwise",), parameters={}, index_bits=32),
    )  # fmt: skip


def softmax(arch: str, change: tuple[str, str] | None = None, rows: int = 141) -> Program:
    """Softmax whose last block of rows is not full."""
    shape = ("float32", (rows, 300))
    return program(arch, "softmax", {"ROWS": rows, "COLS": 300}, {"x": shape}, shape, change)


def row_sum(change: tuple[str, str] | None = None) -> Program:
    """Row sums over three blocks of columns, the last not full."""
    shape = ("float32", (77, 5000))
    sizes = {"ROWS": 77, "COLS": 5000}
    return program("v5e", "row_sum", sizes, {"x": shape}, ("float32", (77,)), change)


def embedding(arch: str) -> Program:
    """Embedding with int64 ids, as PyTorch has them."""
    inputs = {"ids": ("int64", (9,)), "table": ("float32", (31, 100))}
    sizes = {"TOKENS": 9, "ENTRIES": 31, "WIDTH": 100}
    return program(arch, "embedding", sizes, inputs, ("float32", (9, 100)))


def argmax(arch: str) -> Program:
    """argmax whose output is int64, as in PyTorch."""
    sizes = {"ROWS": 141, "COLS": 300}
    inputs = {"x": ("float32", (141, 300))}
    return program(arch, "argmax", sizes, inputs, ("int64", (141,)))


def matmul(arch: str, change: tuple[str, str] | None = None) -> Program:
    """A product of matrices that no tile divides."""
    inputs = {"a": ("float32", (70, 90)), "b": ("float32", (90, 75))}
    return program(
        arch, "matmul", {"M": 70, "N": 75, "K": 90}, inputs, ("float32", (70, 75)), change
    )


WORKER = """
import json, sys
from pathlib import Path
import numpy as np
from mkgen.errors import MkgenError
from mkgen.program import Program
from mkgen_pallas import PallasBackend
role, directory, *files = sys.argv[1:]
directory = Path(directory)
for i, file in enumerate(files):
    program = Program.model_validate_json(Path(file).read_text())
    place = directory / f"{role}{i}"
    place.mkdir()
    try:
        if role == "compile":
            result = PallasBackend().compile(program, place).model_dump(mode="json")
        else:
            executors = [e for e in PallasBackend().executors() if e.role == "emulate"]
            executor = next(e for e in executors if e.accepts(program) is None)
            x = dict(np.load(directory / f"x{i}.npz"))
            loaded = executor.load(program, None, place)
            for schedule in executor.schedules:
                (y,) = loaded.run(x, schedule).values()
                np.save(directory / f"y{i}{schedule}.npy", y)
            result = {"executor": executor.name, "schedules": executor.schedules}
    except MkgenError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    print("RESULT", json.dumps(result), flush=True)
"""


def work(role: str, directory: Path, programs: list[Program]) -> list[dict[str, Any]]:
    """What a worker of `role` says of each program."""
    environment = dict(os.environ, PYTHONPATH=f"{ROOT}:{ROOT / 'backends'}")
    environment |= PallasBackend().environment("compile" if role == "compile" else "emulate")
    files = []
    for i, one in enumerate(programs):
        file = directory / f"{role}{i}.json"
        file.write_text(one.model_dump_json())
        files.append(str(file))
    done = subprocess.run(
        [sys.executable, "-c", WORKER, role, str(directory), *files],
        env=environment, capture_output=True, text=True, timeout=80,
    )  # fmt: skip
    lines = [text[7:] for text in done.stdout.splitlines() if text.startswith("RESULT ")]
    assert len(lines) == len(programs), done.stderr
    return [json.loads(text) for text in lines]


BAD_BLOCK = ("ROW_BLOCK = 128", "ROW_BLOCK = 12")
UNKNOWN = ("jnp.exp(logit", "jax.lax.lgamma(logit")
TOO_LARGE = ("ROW_BLOCK = 128", "ROW_BLOCK = 8192")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Softmax for every TPU, again for v5e, three refusals, and sm_90 with no GPU."""
    programs = [softmax(arch) for arch in ("v5e", "v6e", "v4", "v5p", "tpu7x", "v5e")]
    programs += [softmax("v5e", BAD_BLOCK), softmax("v5e", UNKNOWN)]
    programs += [softmax("v5e", TOO_LARGE, rows=20000), softmax("sm_90")]
    return work("compile", tmp_path_factory.mktemp("pallas"), programs)


def test_compiles_for_every_tpu(compiled: list[dict[str, Any]]) -> None:
    """Each executable is stamped with its chip, and VMEM in use is stated."""
    for result, arch in zip(compiled[:5], ("v5e", "v6e", "v4", "v5p", "tpu7x"), strict=True):
        artifact = Artifact.model_validate(result)
        assert artifact.arch == arch and f"({arch})" in artifact.checked
        vmem = artifact.resources["softmax_kernel"].shared_bytes
        assert vmem and vmem >= 128 * 300 * 4  # a block of rows
        assert artifact.isa_path and "tpu_custom_call" in Path(artifact.isa_path).read_text()


def test_the_same_text_gives_the_same_bytes(compiled: list[dict[str, Any]]) -> None:
    """No path of the file gets into the executable."""
    assert compiled[0]["sha"] == compiled[5]["sha"]


def test_another_chip_is_refused(compiled: list[dict[str, Any]]) -> None:
    """The program for v5e is not one for v5p, and other bytes are none."""
    code = Path(compiled[0]["path"]).read_bytes()
    assert read_stamp(code) == (4, "lite")
    with pytest.raises(WrongArchError, match="stamped chip"):
        check_program(code, find_arch("v5p"))
    with pytest.raises(WrongArchError, match="does not say its chip"):
        check_program(b"\x05other", find_arch("v5p"))


def test_refusals_carry_mosaics_message(compiled: list[dict[str, Any]]) -> None:
    """Block shapes, operations and VMEM: none of these is seen by interpret mode."""
    for result, text in zip(compiled[6:9], ("divisible by 8", "lgamma", "vmem"), strict=True):
        assert result["error"] == "CompileError"
        assert text in result["message"], result["message"]
    line = 1 + softmax("v5e", UNKNOWN).sources[0].text.splitlines().index(
        "    weight = jax.lax.lgamma(logit - jnp.max(logit, axis=1, keepdims=True))"
    )
    assert f"softmax.py:{line}: " in compiled[7]["message"]


def test_a_gpu_target_needs_the_gpu(compiled: list[dict[str, Any]]) -> None:
    """Where no GPU is, sm_90 says what to do."""
    if "error" not in compiled[9]:
        assert "SM 90" in compiled[9]["checked"]
        return
    assert compiled[9]["error"] == "MissingError"
    assert "jax[cuda13]" in compiled[9]["message"]


@pytest.mark.parametrize("name", ["scatter_add", "max_pool2d"])
def test_no_window_is_unrolled_on_gpus(name: str) -> None:
    """JAX unrolls a loop of Python's: 389 sources took more than two minutes to compile."""
    task = find_task(name)
    made = Generator(task, PallasBackend(), Target.parse("pallas:sm_90"))
    body = rank(made)[0].candidate.program(task.workloads()[0]).sources[-1].body
    assert "jax.lax.fori_loop(" in body and "in range(" not in body


def test_the_interpreters_are_right_and_see_faults(tmp_path: Path) -> None:
    """Right in both modes; no mask at the tail, a wrong `parallel`, an unwritten block are not."""
    random = np.random.default_rng(0)
    x = random.standard_normal((141, 300)).astype(np.float32)
    wide = random.standard_normal((77, 5000)).astype(np.float32)
    ids, table = random.integers(0, 31, 9), random.standard_normal((31, 100)).astype(np.float32)
    ties = np.round(x * 2)
    ties[3, 7] = np.nan
    jobs: list[tuple[Program, dict[str, np.ndarray]]] = [
        (softmax("v5e"), {"x": x}),
        (softmax("sm_90"), {"x": x}),
        (embedding("v5e"), {"ids": ids, "table": table}),
        (argmax("v6e"), {"x": ties}),
        (row_sum(), {"x": wide}),
        (row_sum(("jnp.where(col < COLS, x[...], 0.0)", "x[...]")), {"x": wide}),
        (row_sum(('"parallel", "arbitrary"', '"parallel", "parallel"')), {"x": wide}),
        (softmax("v5e", ("y[...] = weight", "_ = weight")), {"x": x}),
        (embedding("v5e"), {"ids": ids + 2**40, "table": table}),
    ]
    for i, (_, inputs) in enumerate(jobs):
        np.savez(tmp_path / f"x{i}.npz", **inputs)
    results = work("emulate", tmp_path, [one for one, _ in jobs])
    y = {file.stem: np.load(file) for file in tmp_path.glob("y*.npy")}
    expected = np.exp(x.astype(np.float64))
    expected /= expected.sum(axis=1, keepdims=True)
    assert results[1]["executor"] == "pallas-gpu-interpreter"
    for name in ("y0", "y0shuffled", "y1"):
        assert np.abs(y[name] - expected).max() < 1e-7
    assert np.array_equal(y["y2"], table[ids])
    assert y["y3"].dtype == np.int64 and np.array_equal(y["y3"], np.argmax(ties, axis=1))
    sums = wide.astype(np.float64).sum(axis=1)
    for name in ("y4", "y4shuffled"):
        assert np.abs(y[name] - sums).max() < 1e-4
    assert np.isnan(y["y5"]).all()
    assert np.abs(y["y6"] - sums).max() < 1e-4
    assert not np.abs(y["y6shuffled"] - sums).max() < 1e-4
    assert np.isnan(y["y7"]).all()
    assert "int32 cannot hold" in results[8]["message"]


def test_dots_of_default_precision_round_as_the_target_does(tmp_path: Path) -> None:
    """float32 interpreted exactly would hide that a matrix unit takes bfloat16, or TF32."""
    random = np.random.default_rng(0)
    a, b = (random.standard_normal(s).astype(np.float32) for s in ((70, 90), (90, 75)))
    default = ("precision=jax.lax.Precision.HIGHEST", "precision=jax.lax.Precision.DEFAULT")
    jobs = [matmul(arch, change) for arch in ("v5e", "sm_90") for change in (None, default)]
    for i in range(len(jobs)):
        np.savez(tmp_path / f"x{i}.npz", a=a, b=b)
    work("emulate", tmp_path, jobs)
    right, scale = a.astype(np.float64) @ b, np.abs(a).astype(np.float64) @ np.abs(b)
    found = [np.abs(np.load(tmp_path / f"y{i}.npy") - right).max() / scale.max() for i in range(4)]
    exact, bfloat16, also_exact, tf32 = found
    assert max(exact, also_exact) < 1e-6
    assert 2**-13 < bfloat16 < 2**-8
    assert 2**-16 < tf32 < 2**-11


def test_accesses_beside_an_array_show_in_the_gpu_interpreter(tmp_path: Path) -> None:
    """Interpret mode clamps a load and drops a store there; a GPU does neither."""
    task = find_task("embedding")
    workload = next(w for w in task.workloads() if w.role == "check")
    made = Generator(task, PallasBackend(), Target.parse("pallas:sm_90"))
    right = rank(made)[0].candidate.program(workload)
    source = right.sources[-1]
    assert "inside = i < B * T * D\n" in source.body
    further = source.body.replace("inside = i < B * T * D\n", "inside = i < B * T * D + 1\n")
    before = source.body.replace("[ids_at * D + d]", "[ids_at * D + d - 1]")
    changed = [source.model_copy(update={"body": body}) for body in (further, before)]
    jobs = [right, *(right.model_copy(update={"sources": (s,)}) for s in changed)]
    sizes = workload.sizes
    ids = np.zeros((sizes["B"], sizes["T"]), np.int64)
    table = np.ones((sizes["V"], sizes["D"]), np.float32)
    for i in range(len(jobs)):
        np.savez(tmp_path / f"x{i}.npz", ids=ids, table=table)
    results = work("emulate", tmp_path, jobs)
    assert results[0]["executor"] == "pallas-gpu-interpreter"
    seen = [np.load(tmp_path / f"y{i}.npy") for i in range(len(jobs))]
    assert (seen[0] == 1).all()
    assert np.isnan(seen[1]).all(), "all of the one block"
    assert np.isnan(seen[2].flat[0]) and (seen[2].flat[1 : sizes["D"]] == 1).all()


def test_sums_do_not_add_in_order(tmp_path: Path) -> None:
    """Of equal terms each rounding would go the same way, as on no target."""
    x = np.repeat(np.linspace(-6, -0.5, 141, dtype=np.float32)[:, None], 300, axis=1)
    x[:, 0] = 0.0
    jobs = [softmax("v5e"), softmax("sm_90")]
    for i in range(len(jobs)):
        np.savez(tmp_path / f"x{i}.npz", x=x)
    work("emulate", tmp_path, jobs)
    weight = np.exp(x.astype(np.float64))
    right = weight / weight.sum(axis=1, keepdims=True)
    for i in range(len(jobs)):
        error = np.abs(np.load(tmp_path / f"y{i}.npy") / right - 1)[:, 0].max()
        assert error < 4e-7, error


def test_a_missing_toolchain_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without JAX the probe gives a remedy and compiling raises MissingError."""
    import mkgen_pallas.probe as module

    monkeypatch.setattr(module, "installed", lambda name: None)
    found = PallasBackend().probe()
    assert found.generate.ok and not found.compile.ok and "pip install" in found.compile.remedy
    with pytest.raises(MissingError, match="pip install"):
        PallasBackend().compile(softmax("v5e"), tmp_path)


def test_probe_imports_nothing_heavy() -> None:
    """Rendering and `doctor` must start fast and start no driver."""
    code = (
        "import sys, mkgen_pallas; b = mkgen_pallas.PallasBackend(); b.probe(); b.executors();"
        "print([m for m in ('jax', 'libtpu') if m in sys.modules])"
    )
    environment = dict(os.environ, PYTHONPATH=f"{ROOT}:{ROOT / 'backends'}")
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stderr


def test_erf_is_as_accurate_as_it_says() -> None:
    import jax
    import jax.numpy as jnp
    import torch

    from mkgen_pallas.printer import _ERF

    names: dict[str, Any] = {"jnp": jnp}
    exec(_ERF, names)  # the helper as modules get it
    x = np.concatenate([np.linspace(-4.5, 4.5, 200_001), [0.0, -0.0, 1e-30]]).astype(np.float32)
    exact = torch.erf(torch.tensor(x, dtype=torch.float64)).numpy()
    error = np.abs(np.asarray(jax.jit(names["erf"])(x), np.float64) - exact)
    assert (error <= 1.4 * np.spacing(np.abs(exact).astype(np.float32))).all()
    special = np.asarray(names["erf"](np.array([np.nan, np.inf, -np.inf], np.float32)))
    assert np.isnan(special[0]) and special[1:].tolist() == [1.0, -1.0]

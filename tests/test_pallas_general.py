"""The general form of kernels for TPUs: right in interpret mode, accepted by Mosaic for v5e."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from mkgen.codegen.candidate import Generator, TemplateCandidate, scales
from mkgen.evaluate.oracle import Judge
from mkgen.program import PrecisionClass
from mkgen.target import Target
from mkgen.task import Task, Tensor
from mkgen_pallas import PallasBackend
from mkgen_pallas.steps import launcher_steps

JUDGE = Judge(scales)
IDS = Tensor("B, T", dtype="int64", distribution="integers", high="V")


def task(
    name: str, call: Callable[..., Any], inputs: dict[str, Tensor], *sizes: dict[str, int]
) -> Task:
    """A task whose bench, check and held-out sizes are `sizes`, in this order."""
    bench, check, heldout = sizes
    return Task(
        name=name, category="math", reference=call, inputs=inputs, bench=bench, check=(check,),
        heldout=(heldout,),
    )  # fmt: skip


TASKS = {
    t.name: t
    for t in (
        task("conv1d_strided", lambda x, w, b: F.conv1d(x, w, b, padding=1, stride=2),
             {"x": Tensor("N, C, W"), "w": Tensor("K, C, S"), "b": Tensor("K")},
             {"N": 8, "C": 300, "W": 400, "K": 300, "S": 3},
             {"N": 2, "C": 5, "W": 31, "K": 7, "S": 3}, {"N": 3, "C": 260, "W": 9, "K": 6, "S": 3}),
        task("products", torch.matmul, {"a": Tensor("B, M, K"), "b": Tensor("B, K, N")},
             {"B": 8, "M": 512, "K": 640, "N": 384},
             {"B": 3, "M": 33, "K": 300, "N": 40}, {"B": 2, "M": 20, "K": 30, "N": 270}),
        task("max_pool1d", lambda x: F.max_pool1d(x, 3, 2, 1), {"x": Tensor("N, C, W")},
             {"N": 32, "C": 64, "W": 512},
             {"N": 2, "C": 5, "W": 31}, {"N": 3, "C": 4, "W": 20}),
        task("long_softmax", lambda x: F.softmax(x, 1), {"x": Tensor("R, C")},
             {"R": 64, "C": 393216}, {"R": 3, "C": 700}, {"R": 2, "C": 3000}),
        task("argmax_rows", lambda x: x.argmax(0), {"x": Tensor("R, C")},
             {"R": 3000, "C": 700}, {"R": 300, "C": 70}, {"R": 20, "C": 300}),
        task("total", lambda x: x.sum(), {"x": Tensor("R, C")},
             {"R": 3000, "C": 700}, {"R": 30, "C": 70}, {"R": 300, "C": 300}),
        task("rows_and_more", lambda ids, table, y: F.embedding(ids, table) * 2 + y,
             {"ids": IDS, "table": Tensor("V, D"), "y": Tensor("B, T, D")},
             {"B": 8, "T": 128, "V": 1000, "D": 256},
             {"B": 3, "T": 17, "V": 101, "D": 33}, {"B": 2, "T": 7, "V": 300, "D": 40}),
        task("half_gelu", F.gelu, {"x": Tensor("R, C", dtype="float16")},
             {"R": 4096, "C": 1000}, {"R": 300, "C": 70}, {"R": 20, "C": 30}),
        task("two_results", lambda x: (x.sum(1), x * 2 - x.mean(1, keepdim=True)),
             {"x": Tensor("R, C")},
             {"R": 4096, "C": 1000}, {"R": 30, "C": 70}, {"R": 300, "C": 300}),
    )
}  # fmt: skip


def candidate(name: str) -> TemplateCandidate:
    """The first way to render a task for v5e."""
    target = Target.parse("pallas:v5e")
    made = Generator(TASKS[name], PallasBackend(), target, workload=TASKS[name].workloads()[0])
    return next(made.candidates())


@pytest.mark.parametrize("name", TASKS)
def test_general_form_is_right(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check and held-out size, within the budget; sums of more than one block among them."""
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    made = candidate(name)
    assert any("general" in t.name for t in made.request.templates)
    for workload in TASKS[name].workloads():
        if workload.role == "bench":
            continue
        program = made.program(workload)
        executor = next(
            e for e in PallasBackend().executors()
            if e.role == "emulate" and e.accepts(program) is None
        )  # fmt: skip
        assert executor.orders(program) == ("",)  # nothing is declared parallel
        case = JUDGE.case(TASKS[name], workload, PrecisionClass.STRICT)
        outputs = executor.load(program, None, tmp_path / workload.name).run(case.inputs)
        verdict = JUDGE.check(case, list(outputs.values()))
        assert verdict.ok, verdict.message


@pytest.mark.parametrize("name", TASKS)
def test_general_form_has_one_launch_a_call(name: str) -> None:
    """Every pallas_call is a step of its own, and the kernel's last has the kernel's name."""
    program = candidate(name).program(TASKS[name].workloads()[0])
    entries = [launch.entry for launch in program.launches]
    assert len(set(entries)) == len(entries) == program.sources[0].body.count("pl.pallas_call(")


@pytest.mark.parametrize("captured", ["x", "total"])
def test_index_maps_may_not_read_arrays(captured: str) -> None:
    """An index map that names an array could gather where only layout is allowed."""
    text = (
        "def f(x):\n"
        f"    y = pl.pallas_call(k, in_specs=[pl.BlockSpec((1,), lambda i: ({captured}[i],))])(x)\n"
        "    return y\n"
    )
    with pytest.raises(ValueError, match=f"may not read {captured}"):
        launcher_steps(text, candidate("total").program(TASKS["total"].workloads()[0]).launches)


def test_a_guarded_window_is_not_taken_for_a_plain_one() -> None:
    """A convolution in groups has the loads of a plain one but for the channels it sums."""
    grouped = task(
        "grouped", lambda x, w: F.conv2d(x, w, groups=2),
        {"x": Tensor("N, 2 * G, H, W"), "w": Tensor("2 * K, G, R, S")},
        {"N": 2, "G": 3, "H": 9, "W": 9, "K": 4, "R": 3, "S": 3},
        {"N": 2, "G": 3, "H": 9, "W": 9, "K": 4, "R": 3, "S": 3},
        {"N": 1, "G": 2, "H": 7, "W": 8, "K": 3, "R": 3, "S": 3},
    )  # fmt: skip
    target = Target.parse("pallas:v5e")
    made = Generator(grouped, PallasBackend(), target, workload=grouped.workloads()[0])
    assert [t.name for t in made.templates(made.kernels[0])] == ["pallas/general_contraction"]


@pytest.mark.parametrize("name", TASKS)
def test_general_form_compiles(name: str, tmp_path: Path) -> None:
    """libtpu makes v5e code of the real size; interpret mode enforces nothing of what it asks."""
    import json
    import os
    import subprocess
    import sys

    backend = PallasBackend()
    program = candidate(name).program(TASKS[name].workloads()[0])
    if not backend.probe().compile.ok:
        pytest.skip("libtpu is not installed")
    (tmp_path / "program.json").write_text(program.model_dump_json())
    code = (
        "import sys, pathlib\n"
        "from mkgen.program import Program\nfrom mkgen_pallas import PallasBackend\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "program = Program.model_validate_json((here / 'program.json').read_text())\n"
        "print(PallasBackend().compile(program, here).model_dump_json())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True,
        env={**os.environ, **backend.environment("compile")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    artifact = json.loads(done.stdout.splitlines()[-1])
    assert set(artifact["resources"]) == {launch.entry for launch in program.launches}

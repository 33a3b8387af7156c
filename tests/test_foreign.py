"""Files without a `Task(...)`: KernelBench-style ones, bare modules and functions."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest
from cli_support import call

from mkgen.cli.request import resolve_task, resolve_tasks, with_dtype
from mkgen.errors import UserError
from mkgen.evaluate.inputs import draw
from mkgen.explain import Observed, Unexplained, integer_text, value_text
from mkgen.foreign import load_foreign, traced
from mkgen.foreign.shrink import MAX_ELEMENTS, MAX_VOLUME
from mkgen.task import Task, argument, load_source

STYLE = Path(__file__).parent / "data" / "kernelbench_style"
FILES = sorted(path.name for path in STYLE.glob("*.py") if path.name != "plain.py")


def tasks(name: str) -> tuple[Task, ...]:
    return resolve_tasks(str(STYLE / name))


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "own.py"
    path.write_text(textwrap.dedent(text))
    return str(path)


@pytest.mark.parametrize("name", FILES)
def test_every_size_does_what_the_files_own_sizes_do(name: str) -> None:
    for task in tasks(name):
        own = traced(task, task.bench)
        small = [w for w in task.workloads() if w.role != "bench"]
        assert {w.role for w in small} == {"check", "heldout"}
        for workload in small:
            found = traced(task, workload.sizes)
            assert found.operations == own.operations
            assert found.elements <= MAX_ELEMENTS and found.volume <= MAX_VOLUME
        for size in task.bench:
            assert len({w.sizes[size] for w in small}) > 1, f"{size} is the same in every check"
        assert len({tuple(w.sizes.values()) for w in small}) == len(small)


@pytest.mark.parametrize("name", FILES)
def test_the_text_of_a_task_is_a_task_file(name: str, tmp_path: Path) -> None:
    for task in tasks(name):
        path = tmp_path / f"{task.name}.py"
        path.write_text(task.source)
        again = resolve_task(f"{path}::{task.name}")
        assert again.hash == task.hash
        assert again.source.startswith((STYLE / name).read_text().rstrip())


def test_names_and_expressions_are_the_users() -> None:
    (task,) = tasks("conv_bias_relu.py")
    assert task.inputs["x"].shape == "BATCH_SIZE, IN_CHANNELS, HEIGHT, WIDTH"
    assert task.inputs["x"].distribution == "uniform"
    assert task.init["bias_shape"] == "(OUT_CHANNELS, 1, 1)"
    assert task.arguments(task.bench) == {
        "in_channels": 32, "out_channels": 96, "kernel_size": 3, "bias_shape": (96, 1, 1),
        "mode": "zeros",
    }  # fmt: skip
    (task,) = tasks("classifier.py")
    assert task.init["hidden"] == "4 * FEATURES"
    assert (task.inputs["labels"].dtype, task.inputs["labels"].high) == ("int64", "CLASSES")
    (task,) = tasks("heads.py")
    assert all(w.sizes["N_EMBD"] % w.sizes["N_HEAD"] == 0 for w in task.workloads())


def test_a_file_of_gigabytes_is_only_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 million numbers would be drawn if the functions ran as they stand."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (task,) = tasks("softmax_wide.py")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert task.bench == {"BATCH_SIZE": 4096, "DIM": 393216}
    assert after - before < 500_000  # kilobytes
    x = draw(task, task.workloads()[1], 0)["logits"]
    assert abs(float(x.mean()) + 0.5) < 0.1 and abs(float(x.std()) - 3) < 0.1


def test_sets_of_inputs_are_tasks_of_their_own(capfd: pytest.CaptureFixture[str]) -> None:
    found = tasks("scaled_groups.py")
    assert [t.name for t in found] == [f"scaled_groups_group{i}" for i in (1, 2, 3)]
    assert [len(t.inputs["x"].dimensions()) for t in found] == [2, 3, 1]
    second = resolve_task(str(STYLE / "scaled_groups.py::group2"))
    assert second.hash == found[1].hash
    with pytest.raises(UserError, match="3 sets of inputs; choose one of"):
        resolve_task(str(STYLE / "scaled_groups.py"))
    with pytest.raises(UserError, match="no group4"):
        resolve_task(str(STYLE / "scaled_groups.py::group4"))


def test_numbers_among_the_inputs_are_part_of_the_reference() -> None:
    import torch

    task = resolve_task(str(STYLE / "scaled_groups.py::group2"))
    x, row = torch.ones(2, 3, 4), torch.arange(4.0)
    assert torch.equal(task.module(task.bench)(x, row), x * -2 + row)


def test_shapes_say_what_a_bare_function_or_module_is_called_with() -> None:
    task = resolve_task(str(STYLE / "plain.py::Gate"), ["x=320,64", "y=320,64"])
    assert (task.name, task.category, task.bench) == ("gate", "activation", {"N": 320, "M": 64})
    task = resolve_task(str(STYLE / "plain.py::row_sum"), ["x=32,256,30"])
    assert task.bench == {"N": 32, "M": 256, "K": 30}
    task = resolve_task(str(STYLE / "plain.py::Squash"), ["x=32,256"])
    assert task.inputs["x"].shape == "N, 256"  # the layer's own width


@pytest.mark.parametrize(
    ("name", "shapes", "told"),
    [
        ("plain.py::Gate", [], "give --shape INPUT=D,D"),
        ("plain.py::Gate", ["x=3,4"], "give one for y of Gate"),
        ("plain.py::Gate", ["x=3,4", "z=3,4"], "Gate .* takes x, y"),
        ("plain.py::Gate", ["x=3,4", "y=5,4"], "the reference fails"),
        ("plain.py::Gat", ["x=3,4"], "Did you mean 'Gate'"),
        ("plain.py", ["x=3,4"], "choose one of Gate, Squash, row_sum"),
        ("plain.py::Squash", ["x=4,128"], "the reference fails"),
        ("matmul.py", ["A=64,32"], "cannot be"),
        ("softmax_wide.py", ["logits=0,32"], "at least 1"),
        ("heads.py", ["x=2,16,770"], "refuses"),
    ],
)
def test_what_cannot_be_is_refused(name: str, shapes: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        resolve_task(str(STYLE / name), shapes)


def test_the_users_line_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, """
        import torch

        class Model(torch.nn.Module):
            def forward(self, x):
                return x @ x

        def get_inputs():
            return [torch.rand(30, 40)]
    """)  # fmt: skip
    with pytest.raises(UserError, match=r"own.py, line 6: .*same reduction dim"):
        resolve_task(path)


LOOP = """
    import torch

    steps = 24
    width = 4096

    class Model(torch.nn.Module):
        def forward(self, x):
            total = x[0]
            for t in range(1, x.shape[0]):
                total = total * 0.5 + x[t]
            return total

    def get_inputs():
        return [torch.randn(steps, width)]
"""


def test_a_size_that_changes_the_operations_is_a_number_of_the_task(tmp_path: Path) -> None:
    """A loop over it is unrolled in the text; another number of steps would be another text."""
    task = resolve_task(write(tmp_path, LOOP))
    assert task.inputs["x"].shape == "24, WIDTH"
    with pytest.raises(UserError, match="fixes this dimension to 24"):
        resolve_task(write(tmp_path, LOOP), ["x=25,4096"])
    assert resolve_task(write(tmp_path, LOOP), ["x=24,100"]).bench == {"WIDTH": 100}


def test_integers_that_the_model_itself_reads_stay(tmp_path: Path) -> None:
    path = write(tmp_path, """
        import torch

        width = 512
        half = width // 2

        class Model(torch.nn.Module):
            def forward(self, x):
                return x[:, :half]

        def get_inputs():
            return [torch.randn(1000, width)]
    """)  # fmt: skip
    assert resolve_task(path).inputs["x"].shape == "N, 512"


def test_a_branch_on_a_shape_refuses_the_other_side(tmp_path: Path) -> None:
    path = write(tmp_path, """
        import torch
        from mkgen.task import Task, Tensor

        def branch(x):
            return torch.exp(x) if x.shape[0] < 100 else torch.tanh(x)

        task = Task(
            name="branch", category="math", reference=branch, inputs={"x": Tensor("N")},
            bench={"N": 90}, check=[{"N": 5}, {"N": 7}], heldout=[{"N": 9}],
        )
    """)  # fmt: skip
    assert resolve_task(path, ["x=99"]).bench == {"N": 99}
    with pytest.raises(UserError, match="does other operations"):
        resolve_task(path, ["x=100"])


def test_dtype_converts_parameters_too() -> None:
    import torch

    (task,) = tasks("classifier.py")
    half = with_dtype(task, "bfloat16")
    assert half.hash != task.hash
    assert {t.dtype for t in half.inputs.values()} == {"bfloat16", "int64"}
    module = half.module(half.check[0])
    assert isinstance(module, torch.nn.Module)
    assert {p.dtype for p in module.parameters()} == {torch.bfloat16}
    kept = task.module(task.check[0])
    assert isinstance(kept, torch.nn.Module)
    assert {p.dtype for p in kept.parameters()} == {torch.float32}


def test_distributions_follow_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, """
        import torch

        n = 4000

        class Model(torch.nn.Module):
            def forward(self, a, b, c, d):
                return a + b + c + d

        def get_inputs():
            return [torch.rand(n) * 4 - 1, (1 - torch.randn(n)) / 2, torch.randint(3, n, (n,)),
                    torch.rand(n).to(torch.float16)]
    """)  # fmt: skip
    task = resolve_task(path)
    a, b, c, d = draw(task, task.workloads()[0], 1).values()
    assert -1 <= a.min() < -0.9 and 2.9 < a.max() <= 3
    assert abs(float(b.mean()) - 0.5) < 0.05 and abs(float(b.std()) - 0.5) < 0.05
    assert c.dtype == np.int64 and 3 <= c.min() < 30 and 3900 < c.max() < 4000
    assert task.inputs["c"].high == "N"
    assert d.dtype == np.float16 and d.min() >= 0 and d.max() <= 1


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((8, 8, 8), "8"), ((16, 21, 53), "N"), ((64, 84, 212), "4 * N"), ((8, 10, 26), "N // 2"),
        ((512, 903, 2385), "M * N"), ((48, 64, 98), "M + N"), ((7, 1, 5), None),
    ],
)  # fmt: skip
def test_explained_values(values: tuple[int, ...], text: str | None) -> None:
    seen = Observed([{"N": 16, "M": 32}, {"N": 21, "M": 43}, {"N": 53, "M": 45}], values)
    if text is None:
        with pytest.raises(Unexplained):
            integer_text(seen, ["M", "N"])
    else:
        assert integer_text(seen, ["M", "N"]) == text


def test_constructor_arguments_are_read_not_run() -> None:
    sizes = {"K": 6}
    assert argument("K // 2", sizes) == 3
    assert argument("(K, 1)", sizes) == (6, 1)
    assert argument("[K, [2, K]]", sizes) == [6, [2, 6]]
    assert argument("'zeros'", sizes) == "zeros"
    assert argument("None", sizes) is None
    seen = Observed([{"K": 6}, {"K": 11}], [("a", 1.5, True, 6), ("a", 1.5, True, 11)])
    assert value_text(seen, ["K"]) == "('a', 1.5, True, K)"
    for text in ("__import__('os')", "K.real", "lambda: 1"):
        with pytest.raises(UserError):
            argument(text, sizes)


def test_a_name_of_the_users_keeps_its_meaning() -> None:
    (task,) = load_foreign(STYLE / "matmul.py")
    text = task.source.replace("import torch\n", "import torch\nfrom torch import Tensor\n", 1)
    assert "from mkgen.task import Task, Tensor" in text
    path = STYLE / "matmul.py"
    source = path.read_text().replace("import torch\n", "import torch\nfrom torch import Tensor\n")
    written = load_foreign_text(source, path)
    assert "mkgen.task.Tensor(" in written
    assert load_source(written, path, "matmul").inputs.keys() == {"A", "B"}


def load_foreign_text(text: str, like: Path) -> str:
    """The text of the task around `text`."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / like.name
        path.write_text(text)
        return load_foreign(path)[0].source


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_kernel_for_a_files_model(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, dtype: str
) -> None:
    out = tmp_path / "run"
    arguments = ("--backend", "cuda", "--dtype", dtype, "--out", str(out), "--json")
    done = call(capfd, "eval", "--task", str(STYLE / "softmax_wide.py"), *arguments)
    assert done.code == 0, done.err
    (record,) = done.document
    assert record["status"] == "pass"
    assert {e["kind"] for e in record["evidence"]} >= {"compiled", "emulated"}

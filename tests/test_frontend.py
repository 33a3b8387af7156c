"""Every lowering against PyTorch, by the interpreter; what is not lowered names the user's line."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mkgen.errors import UnsupportedError, UserError
from mkgen.evaluate.inputs import draw
from mkgen.frontend import lower, lower_task
from mkgen.frontend.lower import FAMILIES, TABLE
from mkgen.frontend.mutation import functional_form
from mkgen.ir.interpreter import run
from mkgen.task import Task, Tensor, find_task, load_task
from tests.frontend_cases import CASES, Case
from tests.sampling import every

SEEDS = (1, 2, 3)


def reference(task: Task, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """What PyTorch gives."""
    with torch.no_grad():
        result = task.module(dict(task.bench))(*(torch.from_numpy(a) for a in inputs.values()))
    return np.asarray(result.numpy())


@pytest.mark.parametrize("seed", every(len(SEEDS), SEEDS))
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_lowering_is_what_pytorch_does(case: Case, seed: int) -> None:
    sizes = case.sizes(np.random.default_rng(seed))
    task = case.task(sizes)
    inputs = draw(task, task.workloads()[0], seed)
    want = reference(task, inputs)
    (got,) = run(lower_task(task), sizes, inputs).values()
    told = f"seed {seed}, sizes {sizes}"
    assert got.shape == want.shape, told
    assert got.dtype == want.dtype, told
    if np.issubdtype(want.dtype, np.floating):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5, err_msg=told)
    else:
        np.testing.assert_array_equal(got, want, err_msg=told)


def test_every_lowering_has_a_case() -> None:
    for family in FAMILIES:  # importing them fills TABLE
        importlib.import_module(f"mkgen.frontend.{family}")
    called = {c.overload for c in CASES}
    in_place = {o for o in called - set(TABLE) if functional_form(o) in TABLE}
    assert set(TABLE) == called - in_place


@pytest.mark.parametrize("case", every(8, CASES), ids=lambda c: c.name)
def test_case_calls_what_it_says(case: Case) -> None:
    """Else the table above would claim more than is tested."""
    sizes = case.sizes(np.random.default_rng(1))
    task = case.task(sizes)
    arguments = tuple(
        torch.zeros(t.resolve(sizes), dtype=getattr(torch, t.dtype)) for t in task.inputs.values()
    )

    class Wrapped(torch.nn.Module):
        def forward(self, *args: object) -> object:
            return task.reference(*args)

    graph = torch.export.export(Wrapped(), arguments, strict=False).graph
    assert case.overload in {str(n.target) for n in graph.nodes if n.op == "call_function"}


def write(tmp_path: Path, body: str) -> Path:
    """A task file whose reference is `def f(x)` with `body`."""
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\nfrom mkgen.task import Task, Tensor\n\n\n"
        f"def f(x):\n    {body}\n\n\n"
        'task = Task(name="mine", category="math", reference=f, inputs={"x": Tensor("A, B")},\n'
        '            bench={"A": 5, "B": 7}, check=[{"A": 5, "B": 7}],\n'
        '            heldout=[{"A": 3, "B": 2}])\n'
    )
    return path


def test_unknown_op_names_the_users_line(tmp_path: Path) -> None:
    path = write(tmp_path, "return torch.special.i0(x)")
    with pytest.raises(UnsupportedError) as caught:
        lower_task(load_task(path))
    told = str(caught.value)
    assert "special_i0" in told and f"{path}, line 6" in told and "torch.special.i0(x)" in told
    assert "docs/add-an-op.md" in told


def test_reference_that_raises_names_the_users_line(tmp_path: Path) -> None:
    path = write(tmp_path, "return x @ x")
    with pytest.raises(UserError, match=r"mine\.py, line 6"):
        lower_task(load_task(path))


def test_output_that_is_an_input_is_a_copy() -> None:
    task = Task(
        name="same", category="broadcast", reference=lambda x: (x, x + 1.0),
        inputs={"x": Tensor("A, B")}, bench={"A": 3, "B": 5}, check=[], heldout=[],
    )  # fmt: skip
    graph = lower_task(task)
    x = np.arange(15, dtype=np.float32).reshape(3, 5)
    same, more = run(graph, {"A": 3, "B": 5}, {"x": x}).values()
    assert (same == x).all() and (more == x + 1).all()
    assert all(graph.tensors[name].role == "output" for name in graph.outputs)


def test_nothing_is_said_of_what_nobody_can_change(recwarn: pytest.WarningsRecorder) -> None:
    """PyTorch warns of its own recurrent modules' weights, NumPy of products that overflow."""
    lower_task(find_task("lstm"))
    for reference in (lambda x: torch.prod(x, 1), lambda x: torch.cumprod(x, 1)):
        task = Task(
            name="product", category="reduce", reference=reference,
            inputs={"x": Tensor("A, B")}, bench={"A": 2, "B": 3}, check=[], heldout=[],
        )  # fmt: skip
        run(lower_task(task), {"A": 2, "B": 3}, {"x": np.full((2, 3), 1e30, np.float32)})
    assert [str(w.message) for w in recwarn] == []


def test_a_users_lowering_wins_and_two_of_ours_are_refused(monkeypatch: Any) -> None:
    monkeypatch.setattr(lower, "TABLE", {})

    def made(module: str) -> Any:
        def lowering(*_: Any) -> Any: ...

        lowering.__module__ = module
        return lower.lowers("aten.relu.default")(lowering)

    theirs = made("task_file")
    made("mkgen.frontend.activation")
    assert lower.TABLE["aten.relu.default"] is theirs
    monkeypatch.setattr(lower, "TABLE", {})
    made("mkgen.frontend.activation")
    with pytest.raises(ValueError, match="is lowered by mkgen.frontend.activation already"):
        made("mkgen.frontend.pointwise")

"""One lowering serves every workload: numbers of the trace become expressions over the sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mkgen.errors import UnsupportedError
from mkgen.evaluate.inputs import draw
from mkgen.expression import Expression, Int, parse
from mkgen.frontend import lower_task
from mkgen.frontend.literals import fit
from mkgen.ir.interpreter import run
from mkgen.task import Task, Tensor, load_task
from tests.frontend_cases import CASES, Case
from tests.frontend_cases_layout import layout_cases

NAMES = {case.name for case in layout_cases()}
LAYOUT = [case for case in CASES if case.name in NAMES]


def several(case: Case, seeds: tuple[int, ...]) -> Task:
    """The case as a task of several workloads of other sizes."""
    drawn = [case.sizes(np.random.default_rng(seed)) for seed in seeds]
    return case.task(drawn[0]).model_copy(
        update={"bench": drawn[0], "check": tuple(drawn[1:]), "heldout": tuple(drawn[2:])}
    )


@pytest.mark.parametrize("case", LAYOUT, ids=lambda c: c.name)
def test_one_lowering_is_right_at_every_size(case: Case) -> None:
    task = several(case, (1, 2, 3, 4))
    graph = lower_task(task)
    for number, workload in enumerate(task.workloads()):
        inputs = draw(task, workload, number)
        given = [torch.from_numpy(a.copy()) for a in inputs.values()]
        want = task.module(workload.sizes)(*given).numpy()
        (got,) = run(graph, workload.sizes, inputs).values()
        assert got.shape == want.shape, workload.sizes
        assert got.dtype == want.dtype
        if want.dtype.kind == "f":
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5, err_msg=str(workload))
        else:
            np.testing.assert_array_equal(got, want, err_msg=str(workload))


TABLES = [
    {"N": 2, "T": 17, "D": 32, "H": 4, "P": 7},
    {"N": 3, "T": 9, "D": 64, "H": 4, "P": 11},
    {"N": 1, "T": 30, "D": 24, "H": 4, "P": 13},
]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([5, 5, 5], Int(5)),
        ([4, 4, 4], parse("H")),
        ([1, 1, 1], Int(1)),
        ([17, 9, 30], parse("T")),
        ([128, 256, 96], parse("4 * D")),
        ([8, 16, 6], parse("D // 4")),
        ([34, 27, 30], parse("N * T")),
        ([15, 7, 28], parse("T - 2")),
        ([24, 20, 43], parse("T + P")),
        ([272, 288, 360], parse("T * D // 2")),
        ([9, 5, 16], parse("T // 2 + 1")),
        ([3, 1, 4], None),
    ],
)
def test_numbers_become_the_simplest_expression(
    values: list[int], wanted: Expression | None
) -> None:
    found = fit(values, TABLES)
    if wanted is None:
        assert found is None
    else:
        assert found is not None
        from mkgen.expression import evaluate

        for number, table in zip(values, TABLES, strict=True):
            assert evaluate(found, table) == number == evaluate(wanted, table)
        assert found == wanted


def write(tmp_path: Path, body: str) -> Task:
    """A task whose reference is `def f(x)` with `body`, at four sizes."""
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\nfrom mkgen.task import Task, Tensor\n\n\n"
        f"def f(x):\n    {body}\n\n\n"
        'task = Task(name="mine", category="math", reference=f, inputs={"x": Tensor("A, B")},\n'
        '            bench={"A": 100, "B": 70}, check=[{"A": 5, "B": 7}, {"A": 6, "B": 3}],\n'
        '            heldout=[{"A": 3, "B": 12}])\n'
    )
    return load_task(path)


def test_other_operations_at_other_sizes_are_refused(tmp_path: Path) -> None:
    task = write(tmp_path, "return (x if x.shape[1] > 5 else x * 2)[:, 1:] + 1")
    with pytest.raises(UnsupportedError, match=r"other operations.*mine\.py, line 6"):
        lower_task(task)


def test_number_that_follows_from_no_size_is_refused(tmp_path: Path) -> None:
    task = write(tmp_path, "return x[:, : (x.shape[1] * 7919) % 3 + 1] * 2")
    with pytest.raises(UnsupportedError, match=r"in no way that mkgen knows.*mine\.py, line 6"):
        lower_task(task)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return torch.nonzero(x)", "depends on the data"),
        ("return x[x.to(torch.bool)]", "depends on the data"),
        ("return torch.topk(x, 2).values", "no sorting"),
        ("return torch.sort(x).values", "no sorting"),
    ],
)
def test_what_cannot_be_lowered_says_why(tmp_path: Path, body: str, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"{reason}.*mine\.py, line 6"):
        lower_task(write(tmp_path, body))


def test_parameters_are_in_named_sizes(tmp_path: Path) -> None:
    task = Task(
        name="mlp", category="arch", reference=_Mlp, inputs={"x": Tensor("N, D")},
        init={"width": "D"}, bench={"N": 64, "D": 512},
        check=({"N": 5, "D": 12}, {"N": 12, "D": 7}), heldout=({"N": 4, "D": 4},),
    )  # fmt: skip
    graph = lower_task(task)
    shapes = {n: t.shape for n, t in graph.tensors.items() if t.role == "parameter"}
    assert shapes["wide_weight"] == (parse("4 * D"), parse("D"))
    assert shapes["wide_bias"] == (parse("4 * D"),)


class _Mlp(torch.nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = torch.nn.Linear(width, 4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.wide(x)

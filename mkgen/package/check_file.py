"""test_NAME.py: the package's own test, which needs PyTorch and the package's files only."""

from __future__ import annotations

from mkgen.codegen.package import PackagePlan
from mkgen.evaluate.compare import OWN_FACTOR
from mkgen.expression import evaluate, parse
from mkgen.package.budget import Budget
from mkgen.package.model_file import shape_text
from mkgen.task import Sizes, Task, Tensor, Workload

_FLOATING = ("float64", "float32", "float16", "bfloat16")


def check_text(plan: PackagePlan, task: Task, workload: Workload, budget: Budget) -> str:
    """The text of the test."""
    draws = "".join(
        f"    {name} = {_draw(tensor, workload.sizes)}\n" for name, tensor in task.inputs.items()
    )
    listed = ", ".join(task.inputs)
    if len(task.inputs) == 1:
        listed = f"({listed},)"
    arguments = _constructor(task, workload)
    cast = f".to(torch.{task.parameter_dtype})" if task.parameter_dtype else ""
    if plan.reference_is_class:
        makes = (
            f"    model = ModelNew({arguments}){cast}\n"
            f"    reference = {plan.reference}({arguments}){cast}\n"
            "    model.load_state_dict(reference.state_dict())\n"
        )
    else:
        copied = f"copy.deepcopy({plan.reference})" if plan.parameters else plan.reference
        makes = f"    model, reference = ModelNew(){cast}, {copied}{cast}\n"
    wide = "copy.deepcopy(reference).double()" if _is_module(plan) else "reference"
    copying = "import copy\n" if "copy." in makes + wide else ""
    return _TEXT.format(
        task=plan.task, target=plan.program.target, copying=copying, reference=plan.reference,
        own=f"{OWN_FACTOR:g}", budget=repr(budget.allowed), origin=budget.origin, draws=draws,
        names=listed, makes=makes, wide=wide,
    )  # fmt: skip


def _is_module(plan: PackagePlan) -> bool:
    return plan.reference_is_class or bool(plan.parameters)


def _constructor(task: Task, workload: Workload) -> str:
    values = task.arguments(workload.sizes)
    return ", ".join(f"{key}={value!r}" for key, value in values.items())


def _draw(tensor: Tensor, sizes: Sizes) -> str:
    shape, dtype = shape_text(tensor.resolve(sizes)), f"torch.{tensor.dtype}"
    low, high = (
        evaluate(parse(b), sizes) if isinstance(b, str) else b for b in (tensor.low, tensor.high)
    )
    if tensor.dtype == "bool":
        return f"torch.randint(0, 2, {shape}, generator=generator).bool()"
    if tensor.distribution == "integers":
        drawn = f"torch.randint({low}, {high}, {shape}, generator=generator"
        if tensor.dtype in _FLOATING:
            return f"{drawn}).to({dtype})"
        return f"{drawn}, dtype={dtype})"
    # drawn in float32 and rounded: PyTorch's CPU generator has every wide dtype, not the narrow
    wide = "torch.float64" if tensor.dtype == "float64" else "torch.float32"
    word = "randn" if tensor.distribution == "normal" else "rand"
    drawn = f"torch.{word}({shape}, generator=generator, dtype={wide})"
    plain = drawn
    if tensor.distribution == "uniform" and (low, high) != (0, 1):
        drawn = f"{drawn} * {high - low} + {low}"
    scale, shift = (
        evaluate(parse(b), sizes) if isinstance(b, str) else b for b in (tensor.scale, tensor.shift)
    )
    if scale != 1.0:
        drawn = f"{scale!r} * {drawn if drawn == plain else f'({drawn})'}"
    if shift != 0.0:
        drawn = f"{drawn} + {shift!r}" if shift > 0 else f"{drawn} - {-shift!r}"
    if tensor.dtype not in ("float16", "bfloat16"):
        return drawn
    return f"{drawn if drawn == plain else f'({drawn})'}.to({dtype})"


_TEXT = '''# SPDX-License-Identifier: Apache-2.0
"""{task} on {target} against PyTorch in float64.

Run `python test_{task}.py`, or pytest.
Exit status: 0 when right, 1 when wrong, 3 when something it needs is not here.
"""

{copying}import sys

import torch

from model import DEVICE, ModelNew, missing
from reference import {reference}

SEED = 20
# A floating element may be off from float64 by OWN_FACTOR times PyTorch's own largest error, or by
# BUDGET: {origin}. Other dtypes are exact.
OWN_FACTOR = {own}
BUDGET = {budget}


def draw() -> tuple[torch.Tensor, ...]:
    """The inputs, the same every time."""
    generator = torch.Generator().manual_seed(SEED)
{draws}    return {names}


def as_tuple(result: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """What a model returns, as a tuple."""
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)


@torch.no_grad()
def run() -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """For each output: the kernel's, PyTorch's, and the reference's in float64."""
    torch.manual_seed(SEED)
{makes}    inputs = draw()
    wide = [t.double() if t.is_floating_point() else t for t in inputs]
    own = as_tuple(reference(*inputs))
    exact = as_tuple({wide}(*wide))
    got = as_tuple(model.to(DEVICE)(*(t.to(DEVICE) for t in inputs)))
    return [(g.cpu(), o, e) for g, o, e in zip(got, own, exact, strict=True)]


def judge(got: torch.Tensor, own: torch.Tensor, exact: torch.Tensor) -> tuple[bool, str]:
    """Whether an output is right, and how far off it is."""
    if got.shape != own.shape or got.dtype != own.dtype:
        return False, f"{{got.dtype}} {{tuple(got.shape)}}, not {{own.dtype}} {{tuple(own.shape)}}"
    if not own.is_floating_point():
        wrong = int((got != own).sum())
        return wrong == 0, f"{{wrong}} of {{own.numel()}} elements differ, none may"
    allowed = max(OWN_FACTOR * float((own.double() - exact).abs().max()), BUDGET)
    error = (got.double() - exact).abs()
    worst = float(error.max())  # NaN when there is one
    return bool((error <= allowed).all()), f"worst error {{worst:.3g}} of {{allowed:.3g}} allowed"


def test_{task}() -> None:
    """Compares every output."""
    reason = missing()
    if reason:
        import pytest

        pytest.skip(reason)
    for triple in run():
        right, told = judge(*triple)
        assert right, told


def main() -> int:
    """Compares every output and says how far off it is."""
    reason = missing()
    if reason:
        print(f"{task} cannot run here: {{reason}}", file=sys.stderr)
        return 3
    verdicts = [judge(*triple) for triple in run()]
    for right, told in verdicts:
        print(f"{task}: {{'PASS' if right else 'FAIL'}}: {{told}}")
    return 0 if all(right for right, _ in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
'''

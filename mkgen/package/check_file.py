"""test_NAME.py: the package's own test, which needs PyTorch and the package's files only."""

from __future__ import annotations

import math

from mkgen.codegen.package import PackagePlan
from mkgen.evaluate.compare import OWN_FACTOR
from mkgen.expression import evaluate, parse
from mkgen.package.budget import Budget
from mkgen.package.model_file import literal, shape_text, wrapped
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
    module = plan.reference_is_class or bool(plan.parameters)
    state = tuple(plan.parameters[b.name] for b in plan.states)
    helpers = (_STIR if module else "") + (
        _HELD.format(state=literal(state, taken=8)) if state else ""
    )
    held = {name: f" + held({name})" if state else "" for name in ("reference", "wide")}
    model = "model" if plan.reference_is_class else "model.model"
    return _TEXT.format(
        task=plan.task, target=plan.program.target, copying="import copy\n" if module else "",
        reference=plan.reference, own=f"{OWN_FACTOR:g}", budget=repr(budget.allowed),
        origin=budget.origin, draws=draws, names=listed, helpers=helpers,
        makes=_makes(plan, task, workload) if module else _MAKES.format(plan.reference),
        held_model=f" + held({model})" if state else "",
        held_reference=held["reference"], held_wide=held["wide"],
    )  # fmt: skip


def _makes(plan: PackagePlan, task: Task, workload: Workload) -> str:
    """Lines that make `model`, `reference` and `wide`, with the same parameters."""
    cast = f".to(torch.{task.parameter_dtype})" if task.parameter_dtype else ""
    values = [f"{key}={value!r}" for key, value in task.arguments(workload.sizes).items()]
    made = wrapped(f"reference = {plan.reference}(", values, f"){cast}", indent=4)
    holder = "model"
    if not plan.reference_is_class:
        made, holder, values = (
            f"    reference = copy.deepcopy({plan.reference}){cast}\n",
            "model.model",
            [],
        )
    return (
        made
        + "    stir(reference)\n"
        + wrapped("model = ModelNew(", values, f"){cast}", indent=4)
        + f"    {holder}.load_state_dict(reference.state_dict())\n"
        + "    reference = reference.to(PLACE)\n"
        + "    wide = copy.deepcopy(reference).double()\n"
    )


def _draw(tensor: Tensor, sizes: Sizes) -> str:
    shape, dtype = shape_text(tensor.resolve(sizes)), f"torch.{tensor.dtype}"
    low, high = (
        evaluate(parse(b), sizes) if isinstance(b, str) else b for b in (tensor.low, tensor.high)
    )
    if tensor.dtype == "bool":
        return f"torch.randint(0, 2, {shape}, **seeded).bool()"
    if tensor.distribution == "distinct":
        count = math.prod(tensor.resolve(sizes))
        drawn = f"torch.randperm({high - low}, **seeded)[:{count}].reshape({shape})"
        return f"({drawn} + {low}).to({dtype})" if low else f"{drawn}.to({dtype})"
    if tensor.distribution == "integers":
        drawn = f"torch.randint({low}, {high}, {shape}"
        if tensor.dtype in _FLOATING:
            return f"{drawn}, **seeded).to({dtype})"
        return f"{drawn}, dtype={dtype}, **seeded)"
    # drawn in float32 and rounded: PyTorch's CPU generator has every wide dtype, not the narrow
    precise = ", dtype=torch.float64" if tensor.dtype == "float64" else ""
    word = "randn" if tensor.distribution == "normal" else "rand"
    drawn = f"torch.{word}({shape}{precise}, **seeded)"
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


_MAKES = "    model, reference, wide = ModelNew(), {0}, {0}\n"

_STIR = '''def stir(module: torch.nn.Module) -> None:
    """Changes tensors that are ones or zeros throughout: a kernel may not forget them."""
    generator = torch.Generator().manual_seed(SEED)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point() and bool((tensor == tensor.flatten()[0]).all()):
            # upward, because a running variance must stay positive
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.add_(noise.to(tensor.dtype), alpha=0.25)


'''

_HELD = '''STATE = {state}


def held(module: torch.nn.Module) -> tuple[torch.Tensor, ...]:
    """The state that a call changes."""
    return tuple(module.get_buffer(name) for name in STATE)


'''

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
# Where PyTorch computes: a GPU needs seconds for what takes a CPU minutes in float64.
PLACE = "cuda" if torch.cuda.is_available() else "cpu"


def draw() -> tuple[torch.Tensor, ...]:
    """The inputs, the same every time."""
    seeded = {{"generator": torch.Generator(PLACE).manual_seed(SEED), "device": PLACE}}
{draws}    return {names}


def as_tuple(result: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """What a model returns, as a tuple."""
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)


{helpers}def strict() -> None:
    """Lets no matrix unit round what PyTorch computes: its error is what allows the kernel's."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


@torch.no_grad()
def run() -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """For each output: the kernel's, PyTorch's, and the reference's in float64."""
    strict()
    torch.manual_seed(SEED)
{makes}    inputs = draw()
    # First, in memory where no right answer has been; on inputs of its own.
    model.to(DEVICE)
    got = as_tuple(model(*(t.to(DEVICE, copy=True) for t in inputs))){held_model}
    with torch.device(PLACE):
        own = as_tuple(reference(*inputs)){held_reference}
        doubled = (t.double() if t.is_floating_point() else t for t in inputs)
        exact = as_tuple(wide(*doubled)){held_wide}
    return [(g.to(PLACE), o, e) for g, o, e in zip(got, own, exact, strict=True)]


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

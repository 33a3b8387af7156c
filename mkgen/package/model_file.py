"""model.py: a custom op and a drop-in module. The same for every vendor but for its call."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from mkgen.codegen.package import PackagePlan
from mkgen.program import Buffer


@dataclass(frozen=True)
class ModelCall:
    """What a vendor adds: how tensors reach the kernel."""

    summary: str
    """Sentences of the module's docstring: what must be built or installed first."""
    imports: tuple[str, ...]
    """Standard library and third-party lines beside `import torch`."""
    local_imports: tuple[str, ...]
    """Imports of files of the package."""
    setup: str
    """Module-level code. It defines `DEVICE` (where tensors must be) and
    `missing() -> str` (why the kernel cannot run here; empty when it can)."""
    body: str
    """Statements of the op after its checks, not indented; they end in a `return`."""
    alignment: bool = True
    """Whether the kernel reads the tensors' own memory, which must then be aligned."""


def model_text(plan: PackagePlan, call: ModelCall) -> str:
    """The text of model.py."""
    names = [b.name for b in plan.inputs]
    arguments = ", ".join(f"{n}: torch.Tensor" for n in names)
    result = _annotation(len(plan.outputs))
    body = "\n".join(f"    {line}" if line else "" for line in call.body.strip().splitlines())
    fakes = [
        f"{names[0]}.new_empty({shape_text(b.shape)}, dtype=torch.{b.dtype})" for b in plan.outputs
    ]
    return (
        _header(plan, call)
        + f"\nINPUTS = {rows_text(_rows(plan.inputs))}\n"
        + '"""What the kernel was made for: name, shape, dtype."""\n\n'
        + call.setup.strip("\n")
        + "\n\n\n"
        + (_CHECK_ALIGNED if call.alignment else _CHECK)
        + f'\n\n@torch.library.custom_op("{plan.identifier}::{plan.task}", mutates_args=())\n'
        + wrapped(f"def {plan.task}(", arguments, f") -> {result}:")
        + f'    """{plan.title}."""\n    _check({", ".join(names)})\n{body}\n'
        + f"\n\n@{plan.task}.register_fake\n"
        + wrapped("def _(", arguments, f") -> {result}:")
        + f"    return {_listed(fakes, '    ')}\n"
        + _module(plan)
    )


def shape_text(shape: Sequence[int]) -> str:
    """`(32, 64)`, `(5,)`, `()`."""
    return f"({shape[0]},)" if len(shape) == 1 else f"({', '.join(map(str, shape))})"


def allocations(buffers: Sequence[Buffer], device: str) -> str:
    """Lines that make one tensor for each of `buffers` on `device` (an expression)."""
    lines = []
    for b in buffers:
        made = f"torch.empty({shape_text(b.shape)}, "
        if b.initial is not None:
            made = f"torch.full({shape_text(b.shape)}, {b.initial!r}, "
        lines.append(f"{b.name} = {made}dtype=torch.{b.dtype}, device={device})\n")
    return "".join(lines)


def returned(plan: PackagePlan) -> str:
    """`return y` or `return y, index`."""
    return f"return {', '.join(b.name for b in plan.outputs)}"


def wrapped(start: str, arguments: str, end: str) -> str:
    """A `def` line, broken after its parenthesis when over 100 columns."""
    line = f"{start}{arguments}{end}\n"
    if len(line) <= 101:
        return line
    inner = f"    {arguments}\n"
    if len(inner) > 101:
        inner = "".join(f"    {argument},\n" for argument in arguments.split(", "))
    return f"{start}\n{inner}{end}\n"


def _header(plan: PackagePlan, call: ModelCall) -> str:
    wanted = {*call.imports, "import torch"}
    if plan.parameters and not plan.reference_is_class:
        wanted.add("import copy")
    imports = sorted(wanted, key=_import_key)
    standard = [line for line in imports if _import_key(line)[0] == 0]
    others = [line for line in imports if _import_key(line)[0] == 1]
    local = list(call.local_imports)
    if plan.parameters:
        local.append(f"from reference import {plan.reference}")
    blocks = ["\n".join(block) for block in (standard, others, sorted(local)) if block]
    return (
        f'# SPDX-License-Identifier: Apache-2.0\n"""{plan.task} on {plan.program.target} from '
        "PyTorch: a custom op and a drop-in module.\n\n"
        f"{textwrap.fill(f'{plan.title}. {call.summary}', 99, break_on_hyphens=False)}\n"
        '"""\n\n' + "\n\n".join(blocks) + "\n"
    )


_THIRD_PARTY = ("torch", "jax", "numpy", "pyopencl", "triton")


def _import_key(line: str) -> tuple[int, int, str]:
    module = line.split()[1].partition(".")[0]
    return int(module in _THIRD_PARTY), int(line.startswith("from")), line


def rows_text(rows: Sequence[str]) -> str:
    """A tuple of `rows`, one a line; a single short one stays on the line, as ruff has it."""
    one = f"({rows[0]},)"
    if len(rows) == 1 and len(one) < 84:
        return one
    return "(\n" + "".join(f"    {row},\n" for row in rows) + ")"


def _rows(buffers: Sequence[Buffer]) -> list[str]:
    return [f'("{b.name}", {shape_text(b.shape)}, torch.{b.dtype})' for b in buffers]


def _annotation(count: int) -> str:
    tensors = ", ".join(["torch.Tensor"] * count)
    return tensors if count == 1 else f"tuple[{tensors}]"


def _listed(items: Sequence[str], indent: str) -> str:
    if len(items) == 1:
        return items[0]
    return "(\n" + "".join(f"{indent}    {item},\n" for item in items) + f"{indent})"


def _module(plan: PackagePlan) -> str:
    inputs = [b.name for b in plan.inputs if b.name not in plan.parameters]
    signature = ", ".join(["self", *(f"{n}: torch.Tensor" for n in inputs)])
    result = _annotation(len(plan.outputs))
    held = {
        name: f"self.{'' if plan.reference_is_class else 'model.'}{dotted}"
        for name, dotted in plan.parameters.items()
    }
    arguments = ", ".join(held.get(b.name, b.name) for b in plan.inputs)
    base, made = "torch.nn.Module", ""
    told = f"`{plan.reference}` of reference.py, computed by the kernel; forward only."
    if plan.parameters and plan.reference_is_class:
        base = plan.reference
        told = f"{plan.reference} with the same parameters, computed by the kernel; forward only."
    elif plan.parameters:
        made = (
            "    def __init__(self) -> None:\n        super().__init__()\n"
            f"        self.model = copy.deepcopy({plan.reference})\n\n"
        )
    return (
        f'\n\nclass ModelNew({base}):\n    """{told}"""\n\n{made}'
        + _indented(wrapped("def forward(", signature, f") -> {result}:"))
        + f"        return {plan.task}({arguments})\n"
    )


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


_CHECK = '''def _check(*tensors: torch.Tensor) -> None:
    """Raises ValueError unless the tensors are what the kernel was made for."""
    for (name, shape, dtype), tensor in zip(INPUTS, tensors, strict=True):
        if tuple(tensor.shape) != shape or tensor.dtype != dtype:
            got = f"{tensor.dtype} {tuple(tensor.shape)}"
            raise ValueError(f"{name} must be {dtype} {shape}, got {got}")
        if not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous; pass {name}.contiguous()")
        if tensor.device.type != DEVICE or tensor.device != tensors[0].device:
            raise ValueError(
                f"{name} is on {tensor.device}; all tensors must be on one {DEVICE} device"
            )
'''
_CHECK_ALIGNED = (
    _CHECK
    + """        if tensor.data_ptr() % 16:
            raise ValueError(f"{name} must start at a multiple of 16 bytes; pass {name}.clone()")
"""
)

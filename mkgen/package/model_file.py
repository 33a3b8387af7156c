"""model.py: a custom op and a drop-in module. The same for every vendor but for its call."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    arguments = [f"{n}: torch.Tensor" for n in names]
    result = _annotation(len(plan.outputs))
    body = "\n".join(f"    {line}" if line else "" for line in call.body.strip().splitlines())
    fakes = [
        f"{names[0]}.new_empty({shape_text(b.shape)}, dtype=torch.{b.dtype})" for b in plan.outputs
    ]
    return (
        _header(plan, call)
        + f"\nINPUTS = {literal(_rows(plan.inputs), taken=9)}\n"
        + '"""What the kernel was made for: name, shape, dtype."""\n\n'
        + call.setup.strip("\n")
        + "\n\n\n"
        + (_CHECK_ALIGNED if call.alignment else _CHECK)
        + "\n\n"
        + _registration(plan)
        + wrapped(f"def {plan.task}(", arguments, f") -> {result}:")
        + f'    """{plan.title}."""\n'
        + wrapped("_check(", names, ")", indent=4)
        + f"{body}\n"
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
        function = "torch.empty" if b.initial is None else "torch.full"
        value = [] if b.initial is None else [repr(b.initial)]
        arguments = [shape_text(b.shape), *value, f"dtype=torch.{b.dtype}", f"device={device}"]
        lines.append(wrapped(f"{b.name} = {function}(", arguments, ")", outer=4))
    return "".join(lines)


def returned(plan: PackagePlan) -> str:
    """`return y` or `return y, index`."""
    return f"return {', '.join(b.name for b in plan.outputs)}"


def wrapped(
    start: str, arguments: Sequence[str], end: str, *, indent: int = 0, outer: int = 0
) -> str:
    """A `def` or a call, broken as ruff breaks one that is over 100 columns.

    Indented by `indent`; it will be indented by `outer` more.
    """
    space, room = " " * indent, 100 - outer
    listed = ", ".join(arguments)
    line = f"{space}{start}{listed}{end}"
    if len(line) <= room or not arguments:
        return f"{line}\n"
    inner = f"{space}    {listed}"
    if len(inner) > room:
        inner = "\n".join(f"{space}    {argument}," for argument in arguments)
    return f"{space}{start}\n{inner}\n{space}{end}\n"


class Code(str):
    """Text that stands in a literal as it is: `torch.float32`."""


def literal(value: Any, *, indent: int = 0, taken: int = 0) -> str:
    """Nested tuples and dictionaries as Python text, broken as ruff breaks them.

    `taken` is how much of its first line other text takes; its last line begins in `indent`.
    """
    line = _one_line(value)
    if taken + len(line) <= 100 or not isinstance(value, tuple | dict):
        return line
    space = " " * (indent + 4)
    rows = []
    for key in value:
        named = f"{_one_line(key)}: " if isinstance(value, dict) else ""
        item = value[key] if isinstance(value, dict) else key
        # one column more for the comma that follows
        text = literal(item, indent=indent + 4, taken=indent + 5 + len(named))
        rows.append(f"{space}{named}{text},\n")
    left, right = "{}" if isinstance(value, dict) else "()"
    return f"{left}\n{''.join(rows)}{' ' * indent}{right}"


def _one_line(value: Any) -> str:
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_one_line(k)}: {_one_line(v)}' for k, v in value.items())}}}"
    if isinstance(value, tuple):
        listed = ", ".join(_one_line(item) for item in value)
        return f"({listed},)" if len(value) == 1 else f"({listed})"
    return repr(value)


def _registration(plan: PackagePlan) -> str:
    """The decorator that makes the op, and says which of its arguments it changes."""
    changed = [f'"{b.name}"' for b in plan.states]
    mutates = f"({changed[0]},)" if len(changed) == 1 else f"({', '.join(changed)})"
    named = [f'"{plan.identifier}::{plan.task}"', f"mutates_args={mutates}"]
    return wrapped("@torch.library.custom_op(", named, ")")


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


def _rows(buffers: Sequence[Buffer]) -> tuple[Any, ...]:
    return tuple((b.name, b.shape, Code(f"torch.{b.dtype}")) for b in buffers)


def _annotation(count: int) -> str:
    tensors = ", ".join(["torch.Tensor"] * count)
    return tensors if count == 1 else f"tuple[{tensors}]"


def _listed(items: Sequence[str], indent: str) -> str:
    if len(items) == 1:
        return items[0]
    return "(\n" + "".join(f"{indent}    {item},\n" for item in items) + f"{indent})"


def _module(plan: PackagePlan) -> str:
    inputs = [b.name for b in plan.inputs if b.name not in plan.parameters]
    signature = ["self", *(f"{n}: torch.Tensor" for n in inputs)]
    result = _annotation(len(plan.outputs))
    held = {
        name: f"self.{'' if plan.reference_is_class else 'model.'}{dotted}"
        for name, dotted in plan.parameters.items()
    }
    arguments = [held.get(b.name, b.name) for b in plan.inputs]
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
        + wrapped("def forward(", signature, f") -> {result}:", indent=4)
        + wrapped(f"return {plan.task}(", arguments, ")", indent=8)
    )


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

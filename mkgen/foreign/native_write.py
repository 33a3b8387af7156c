"""A template's kernel written as a native file: what a person may edit, or a model take after.

The text is the template's own; the head says as expressions what its launcher would do, and its
parameters stand in the head, with the values they may have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from mkgen.codegen.candidate import TemplateCandidate
from mkgen.codegen.plan import DialectPrinter, LaunchPlan
from mkgen.codegen.render import Text, text_of
from mkgen.errors import UnsupportedError
from mkgen.expression import Call, Expression, Int, to_python
from mkgen.foreign.native import C_START, PYTHON_START


def native_text(
    candidate: TemplateCandidate, alternatives: Mapping[str, Sequence[int]] | None = None
) -> str:
    """The file of `candidate`. UnsupportedError for what the form cannot say: loops of launches.

    `alternatives` are more values that its parameters may have, by name.
    """
    printer: DialectPrinter = candidate.backend.printer(candidate.target.arch)
    text = text_of(candidate.request, printer, candidate.task.workloads()[0])
    functional = candidate.backend.dialect == "pallas"
    if text.plan.loops and not functional:
        raise UnsupportedError(
            f"{candidate.task.name} launches kernels in a loop, which no native file can say"
        )
    lines = [f"task = {_toml(candidate.task.name)}", f"backend = {_toml(candidate.backend.name)}"]
    if functional:
        lines.append(f"entry = {_toml(text.plan.launcher)}")
    lines += _parameters(text, alternatives or {})
    if not functional:
        for buffer in text.plan.temporaries:
            shape = _array(text.plan.shapes[buffer.name])
            lines += ["[[temporary]]", f"name = {_toml(buffer.name)}"]
            lines += [f"dtype = {_toml(buffer.dtype)}", f"shape = {shape}"]
        for launch in text.plan.launches:
            lines += _launch(launch, simt=candidate.backend.dialect == "c")
    code = text.kernels + (printer.launcher(text.plan) if functional else "")
    imports = printer.preamble(code)
    if candidate.backend.extension == ".py":
        head = "".join(f"# {line}\n" for line in lines)
        return f"{PYTHON_START}\n{head}{imports}\n\n{code.strip()}\n"
    head = "".join(f"{line}\n" for line in lines)
    return f"{C_START}\n{head}*/\n{imports}\n{code.strip()}\n"


def _parameters(text: Text, alternatives: Mapping[str, Sequence[int]]) -> list[str]:
    if not text.constants:
        return []
    lines = ["[parameters]"]
    for name, value in text.constants.items():
        values = dict.fromkeys([value, *alternatives.get(name, ())])
        lines.append(f"{name} = [{', '.join(map(str, values))}]")
    return lines


def _launch(launch: LaunchPlan, *, simt: bool) -> list[str]:
    arguments = ", ".join(_toml(a) for a in launch.arguments)
    lines = ["[[launch]]", f"entry = {_toml(launch.entry)}", f"args = [{arguments}]"]
    lines.append(f"grid = {_array(_without_ones(launch.grid))}")
    if simt:
        lines.append(f"block = {_array(_without_ones(launch.block))}")
        if launch.dynamic_shared != Int(0):
            lines.append(f"shared = {_extent(launch.dynamic_shared)}")
        return lines
    if launch.constexprs:
        items = ", ".join(f"{k} = {_extent(v)}" for k, v in launch.constexprs.items())
        lines.append(f"constexprs = {{ {items} }}")
    return [*lines, f"warps = {_extent(launch.warps)}", f"stages = {_extent(launch.stages)}"]


def _without_ones(extents: Sequence[Expression]) -> Sequence[Expression]:
    """`extents` without what stands at the end and says nothing."""
    last = max((i for i, e in enumerate(extents) if e != Int(1)), default=0)
    return extents[: last + 1]


def _array(extents: Sequence[Expression]) -> str:
    return f"[{', '.join(map(_extent, extents))}]"


def _extent(expression: Expression) -> str:
    if isinstance(expression, Int):
        return str(expression.value)
    return _toml(to_python(expression, _spelled))


def _spelled(node: Call, inner: Callable[[Expression, int], str]) -> str | None:
    """`ceil_div(N, 256)`, as people write it in a head."""
    if node.function != "ceil_div":
        return None
    return f"ceil_div({inner(node.args[0], 0)}, {inner(node.args[1], 0)})"


def _toml(text: str) -> str:
    return json.dumps(text)  # a basic string of TOML is spelled as one of JSON

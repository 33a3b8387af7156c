"""Kernels x templates x parameters -> programs. Needs nothing installed but Jinja2."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from mkgen.codegen.plan import DialectPrinter, LaunchPlan, LoopPlan, Plan
from mkgen.codegen.row_views import make_view
from mkgen.codegen.template import Parameters, Template, compiled
from mkgen.codegen.view import View
from mkgen.errors import UnsupportedError
from mkgen.expression import Expression, evaluate, parse, product, substitute, to_python
from mkgen.ir.kernel import GIVEN as GIVEN_ROLES
from mkgen.ir.kernel import Kernel
from mkgen.ir.nest import Graph, describe_shape
from mkgen.program import (
    GIVEN,
    Buffer,
    BufferRole,
    Dtype,
    Launch,
    PrecisionClass,
    Program,
    Repeat,
    Source,
    Step,
    Variant,
)  # fmt: skip
from mkgen.target import Target
from mkgen.task import Task, Workload

SHORT = {"float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16", "int64": "i64",
         "int32": "i32", "bool": "b8", "int8": "i8", "uint8": "u8", "int16": "i16"}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """Everything that decides a program's text, but for the sizes."""

    task: Task
    graph: Graph
    kernels: tuple[Kernel, ...]
    templates: tuple[Template, ...]
    """One per kernel."""
    parameters: Parameters
    """By constant name; with several kernels, prefixed by the kernel's."""
    index_bits: Literal[32, 64]
    target: Target
    precision: PrecisionClass = PrecisionClass.STRICT


@dataclass(frozen=True)
class Text:
    """A program's text in its parts, and its launches with expressions still over names."""

    plan: Plan
    kernels: str
    """The kernels with the functions they call; neither sizes nor parameters nor a launcher."""
    values: Mapping[str, int]
    """The sizes of the workload, and what follows from them."""
    constants: dict[str, int]
    """Parameters that the text or a launch names."""
    requirements: tuple[tuple[str, bool], ...]
    """See Program.requirements."""


def text_of(request: Request, printer: DialectPrinter, workload: Workload) -> Text:
    """The text of `request`; `workload` decides nothing but values."""
    graph, values = request.graph, request.graph.sizes(workload.sizes)
    shown = {k: v for k, v in request.parameters.items() if _is_constant(v)}
    parts: list[str] = []
    launches: list[LaunchPlan] = []
    requirements: list[tuple[str, bool]] = []
    shared: set[str] = set()
    for kernel, template in zip(request.kernels, request.templates, strict=True):
        prefix = parameter_prefix(request.kernels, kernel)
        view = make_view(kernel, graph, printer)
        text, launch = printer.finish(
            _body(request, printer, view, template, prefix, shared),
            {**values, **{k: int(v) for k, v in shown.items()}},
            _launch_plan(view, template, prefix),
        )
        parts.append(text)
        launches.append(launch)
        facts = _facts(view, request.parameters, prefix, values)
        for condition in template.spec.requirements:
            requirements.append((condition, bool(evaluate(parse(condition), facts))))
    for loop in _loops(request, printer).values():
        rounds = evaluate(loop.count, values)
        requirements += [(f"{to_python(loop.count)} > {n}", rounds > n) for n in (1, 2)]
    kernels_text = printer.separator.join(parts)
    constants = {k: int(v) for k, v in shown.items() if _names(k, kernels_text, launches)}
    name = printer.launcher_name(request.task.name, main_dtype(graph))
    plan = _plan(request, printer, name, launches, values, constants)
    return Text(
        plan, printer.helpers(kernels_text) + kernels_text, values, constants, tuple(requirements)
    )


def render(request: Request, printer: DialectPrinter, workload: Workload) -> Program:
    """The program of `request` for the sizes of `workload`."""
    text = text_of(request, printer, workload)
    plan, values = text.plan, text.values
    launcher = printer.launcher(plan)
    body = printer.parameters(_by_kernel(request, text.constants)) + text.kernels + launcher
    everything = body + "".join(s.body for s in printer.companions(plan, "", ""))
    sizes = {k: v for k, v in values.items() if re.search(rf"\b{k}\b", everything)}
    size_text = printer.sizes(sizes, request.index_bits)
    head = printer.comment(head_lines(request, values, ()))
    source = Source(
        name=f"{request.task.name}{printer.extension}", language=printer.language, head=head,
        preamble=printer.preamble(body), sizes=size_text, body=body,
    )  # fmt: skip
    made = launch_steps(plan, source.name, printer, {**values, **text.constants})
    return Program(
        task=request.task.name,
        task_hash=request.task.hash,
        workload=workload.name,
        target=request.target,
        precision=request.precision,
        sources=(source, *printer.companions(plan, head, size_text)),
        buffers=(*plan.inputs, *plan.outputs, *plan.temporaries),
        steps=printer.steps(made, plan, launcher),
        variant=Variant(
            templates=tuple(t.name for t in request.templates),
            parameters=request.parameters,
            index_bits=request.index_bits,
        ),
        launcher=plan.launcher,
        constants=sizes,
        requirements=text.requirements,
    )


def main_dtype(graph: Graph) -> str:
    """The dtype a launcher is named after: the first floating one, else the first output's."""
    floats = (t.dtype for t in graph.tensors.values() if "float" in t.dtype)
    return next(floats, graph.tensors[graph.outputs[0]].dtype)


def refusal(request: Request, printer: DialectPrinter) -> str:
    """Why some template cannot render its kernel in this dialect; empty when all can."""
    try:
        for kernel, template in zip(request.kernels, request.templates, strict=True):
            prefix = parameter_prefix(request.kernels, kernel)
            view = make_view(kernel, request.graph, printer)
            _body(request, printer, view, template, prefix, set())
    except UnsupportedError as error:
        return str(error)
    return ""


def _by_kernel(request: Request, constants: Mapping[str, int]) -> list[dict[str, int]]:
    """`constants` in the order of the kernels; the longest prefix says whose one is."""
    prefixes = [parameter_prefix(request.kernels, k) for k in request.kernels]
    groups: dict[str, dict[str, int]] = {prefix: {} for prefix in prefixes}
    for name, value in constants.items():
        owner = max((p for p in prefixes if name.startswith(p)), key=len)
        groups[owner][name] = value
    return [group for group in groups.values() if group]


def _is_constant(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _names(name: str, text: str, launches: Sequence[LaunchPlan]) -> bool:
    used = re.search(rf"\b{name}\b", text) is not None
    return used or any(name in repr(p) for p in launches)


def parameter_prefix(kernels: Sequence[Kernel], kernel: Kernel) -> str:
    """What a kernel's parameters start with: nothing when it is the only one."""
    return "" if len(kernels) == 1 else f"{kernel.name.upper()}_"


def entry_name(request: Request, kernel: Kernel) -> str:
    """`conv2d_kernel`."""
    stem = request.task.name if len(request.kernels) == 1 else kernel.name
    return f"{stem}_kernel"


def _own(parameters: Parameters, prefix: str) -> Parameters:
    return {k.removeprefix(prefix): v for k, v in parameters.items() if k.startswith(prefix)}


def _facts(
    view: View, parameters: Parameters, prefix: str, values: Mapping[str, int]
) -> dict[str, int]:
    extents = {k: evaluate(e, values) for k, e in view.extents().items()}
    own = {k: v for k, v in _own(parameters, prefix).items() if isinstance(v, int)}
    return {**values, **extents, **own}


def _body(
    request: Request,
    printer: DialectPrinter,
    view: View,
    template: Template,
    prefix: str,
    shared: set[str],
) -> str:
    """A kernel's text; `shared` is what earlier ones of the file have defined for all."""

    def share(definition: str) -> str:
        known = definition in shared
        shared.add(definition)
        return "" if known else definition

    own = _own(request.parameters, prefix)
    context = {
        "view": view,
        "kernel": view.kernel,
        "entry": entry_name(request, view.kernel),
        "choice": own,
        "prefix": prefix,
        "share": share,
        "bits": request.index_bits,
        "arch": request.target.arch,
        **{k: f"{prefix}{k}" for k, v in own.items()},
        **{k: printer.index(e) for k, e in view.extents().items()},
        **printer.context(view, request.index_bits),
    }
    text = compiled(template.body).render(context)
    return tidy(text)


def tidy(text: str) -> str:
    """`text` without trailing blanks, double blank lines, or blank lines inside braces' edges."""
    text = re.sub(r"[ \t]+\n", "\n", text)
    text = re.sub(r"\n{3,}", "\n\n", text)
    text = re.sub(r"([{:])\n\n", r"\1\n", text)
    text = re.sub(r"\n\n([ \t]*})", r"\n\1", text)
    if "def " in text:  # Python: a function body without holes
        text = re.sub(r"(\n[ \t]+[^\n]+)\n\n(?=[ \t])", r"\1\n", text)
        text = re.sub(r"(\n[ \t]+[^\n]+)\n\n(?=[ \t])", r"\1\n", text)
        text = _space_nested(text)
    return text.strip("\n") + "\n"


def _space_nested(text: str) -> str:
    """A blank line before and after every Python function inside another."""
    lines: list[str] = []
    nested: int | None = None
    for line in text.split("\n"):
        body = line.lstrip()
        indent = len(line) - len(body)
        ends = nested is not None and body != "" and indent <= nested and body[:4] != "def "
        if ends:
            nested = None
        starts = indent > 0 and body.startswith("@")
        if (ends or starts) and lines and lines[-1]:
            lines.append("")
        if indent > 0 and body.startswith("def "):
            nested = indent
        lines.append(line)
    return "\n".join(lines)


def _launch_plan(view: View, template: Template, prefix: str) -> LaunchPlan:
    spec = template.spec.launch
    from mkgen.expression import Name

    replacements: dict[str, Expression] = dict(view.extents())
    replacements |= {k: Name(f"{prefix}{k}") for k in template.spec.parameters}

    def read(text: str) -> Expression:
        return substitute(parse(text), replacements)

    def three(texts: tuple[str, ...]) -> tuple[Expression, Expression, Expression]:
        x, y, z = (*(read(t) for t in texts), read("1"), read("1"))[:3]
        return x, y, z

    stem = view.kernel
    return LaunchPlan(
        entry="",
        arguments=tuple(a.name for a in view.arguments),
        writes=tuple(stem.writes()),
        grid=three(spec.grid),
        block=three(spec.block),
        dynamic_shared=read(spec.dynamic_shared),
        constexprs={k: read(v) for k, v in spec.constexprs.items()},
        warps=read(spec.warps),
        stages=read(spec.stages),
        rank=len(spec.grid),
        loop=stem.loop,
    )


def _loops(request: Request, printer: DialectPrinter) -> dict[str, LoopPlan]:
    """The loops of the request's kernels, by name."""
    graph = request.graph
    made: dict[str, LoopPlan] = {}
    for name in dict.fromkeys(k.loop for k in request.kernels if k.loop):
        loop = graph.loop(name)
        inner = graph.inside(name)
        made[name] = LoopPlan(
            variable=loop.axis.name,
            count=loop.axis.extent,
            swaps=loop.carried,
            slices={t: product(list(inner.tensors[t].shape)) for t in loop.sliced()},
            stacks=loop.collected if printer.stacks else (),
            reverse=loop.reverse,
        )
    return made


def _plan(
    request: Request,
    printer: DialectPrinter,
    launcher: str,
    launches: list[LaunchPlan],
    values: Mapping[str, int],
    constants: dict[str, int],
) -> Plan:
    for position, kernel in enumerate(request.kernels):
        launches[position] = replace(launches[position], entry=entry_name(request, kernel))
    graph = request.graph
    loops = _loops(request, printer)
    used = {a for p in launches for a in p.arguments}
    used |= {array for loop in loops.values() for array, _ in loop.stacks}
    roles = {
        "input": BufferRole.INPUT, "parameter": BufferRole.PARAMETER,
        "output": BufferRole.OUTPUT, "temporary": BufferRole.TEMPORARY,
        "state": BufferRole.STATE,
    }  # fmt: skip
    made = [
        Buffer(name=n, dtype=cast(Dtype, t.dtype), shape=graph.shape(n, values), role=roles[t.role])
        for n, t in graph.tensors.items()
        if n in used or t.role in GIVEN_ROLES
    ]
    outputs = {n: b for b in made for n in [b.name] if b.role is BufferRole.OUTPUT}
    return Plan(
        name=request.task.name,
        title=request.task.title,
        launcher=launcher,
        inputs=tuple(b for b in made if b.role in GIVEN),
        outputs=tuple(outputs[n] for n in graph.outputs),
        temporaries=tuple(b for b in made if b.role is BufferRole.TEMPORARY),
        shapes={n: t.shape for n, t in graph.tensors.items()},
        launches=tuple(launches),
        parameters=constants,
        loops=loops,
    )


def launch_steps(
    plan: Plan, source: str, printer: DialectPrinter, values: Mapping[str, int]
) -> tuple[Step, ...]:
    """Launches in order, those of a loop inside a Repeat."""
    made: list[Step] = []
    for loop, launches in plan.parts():
        inner = tuple(_step(loop, p, source, printer, values) for p in launches)
        if loop is None:
            made += inner
            continue
        count = evaluate(loop.count, values)
        slices = {name: evaluate(size, values) for name, size in loop.slices.items()}
        made.append(Repeat(
            count=count,
            steps=inner,
            swaps=loop.swaps,
            advance={n: -size if loop.reverse else size for n, size in slices.items()},
            start={n: (count - 1) * size for n, size in slices.items()} if loop.reverse else {},
            stacks=loop.stacks,
        ))  # fmt: skip
    return tuple(made)


def _step(
    loop: LoopPlan | None,
    plan: LaunchPlan,
    source: str,
    printer: DialectPrinter,
    values: Mapping[str, int],
) -> Launch:
    return Launch(
        source=source,
        entry=plan.entry,
        args=plan.arguments,
        reads=tuple(a for a in plan.arguments if a not in plan.writes),
        writes=plan.writes,
        configuration=printer.configuration(plan, values),
        offsets=printer.configuration_offsets(loop, plan),
    )


def head_lines(
    request: Request, values: Mapping[str, int], facts: Sequence[str]
) -> tuple[str, ...]:
    """The head comment: what it computes on which shapes, for what, and `facts` about it."""
    import mkgen

    graph = request.graph
    title = request.task.title.rstrip(".")
    shapes = [
        f"{n}{describe_shape(graph.tensors[n].shape, values)}"
        for n, t in graph.tensors.items()
        if t.role in GIVEN_ROLES
    ]
    outputs = [f"{n}{describe_shape(graph.tensors[n].shape, values)}" for n in graph.outputs]
    dtypes = dict.fromkeys(t.dtype for n, t in graph.tensors.items() if t.role in GIVEN_ROLES)
    lines = [f"{title}.", f"{', '.join(dtypes)}: {', '.join(shapes)} -> {', '.join(outputs)}."]
    templates = ", ".join(dict.fromkeys(t.name for t in request.templates))
    return (
        *lines,
        f"Target {request.target}.",
        *facts,
        f"Generator: mkgen {mkgen.__version__}, template {templates}.",
    )

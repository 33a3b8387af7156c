"""A native kernel file as programs: one per workload, all with the same text.

The text is the file's own, head comment first, with the size block after its includes or imports
and a launcher, made from the head, at its end. So it goes through the protocol as a template's.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, cast

from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import Generator
from mkgen.codegen.plan import DialectPrinter, LaunchPlan, Plan
from mkgen.codegen.render import launch_steps, main_dtype
from mkgen.codegen.template import Parameters
from mkgen.errors import UserError, nearest
from mkgen.expression import Expression, Int, evaluate, names
from mkgen.foreign.native import C_START, PYTHON_START, HeadLaunch, Native
from mkgen.ir.kernel import GIVEN as GIVEN_ROLES
from mkgen.program import (
    Buffer,
    BufferRole,
    Dtype,
    Functional,
    Launch,
    PrecisionClass,
    Program,
    Simt,
    Source,
    Step,
    Variant,
)  # fmt: skip
from mkgen.reading import module_tree
from mkgen.target import Target
from mkgen.task import Task, Workload

#: What the variant's `templates` of such a program say.
TEMPLATE = "source"
#: Threads and blocks are counted in 32 bits everywhere.
_MOST = 2**31 - 1
_MOST_WARPS = 64
_MOST_STAGES = 16
#: Sets of parameters that are looked at, of all that a head can spell.
_MOST_SETS = 1 << 12

Form = Literal["simt", "block", "functional"]
_FORMS: Mapping[str, Form] = {"c": "simt", "triton": "block", "pallas": "functional"}
#: Keys of a launch that only one form has.
_ONLY: Mapping[str, Form] = {
    "block": "simt", "shared": "simt", "sub_group": "simt",
    "warps": "block", "stages": "block", "constexprs": "block",
}  # fmt: skip


@dataclass(frozen=True)
class SourceCandidate:
    """One native kernel file on one target."""

    task: Task
    backend: Backend
    target: Target
    precision: PrecisionClass
    native: Native
    allow_library: bool = False
    """Whether a library may do its work: of the kernels that a text launches itself."""
    origin: str = "source"
    parameters: Parameters | None = None
    """The set it is compiled with; None: the first legal one of its head."""

    @property
    def text(self) -> str:
        """The file as its author wrote it: what findings count their lines in."""
        return self.native.text

    @property
    def file(self) -> str:
        """Its name."""
        return self.native.name

    def program(self, workload: Workload) -> Program:
        """The file at the sizes of `workload`. UserError says which line of the head is wrong."""
        return self._assembly.program(workload)

    def variants(self) -> Iterator[SourceCandidate]:
        """One candidate for each set of the head's parameters that is legal at every workload.

        In the head's order: the first values of all come first. UserError when none is legal.
        """
        for chosen in self._assembly.legal():
            yield replace(self, parameters=chosen)

    @cached_property
    def _assembly(self) -> _Assembly:
        return _Assembly(self)


def native_name(task: str, backend: Backend) -> str:
    """The file of a package that holds the text as its author wrote it, head and all."""
    return f"{task}.native{backend.extension}"


def source_candidate(
    task: Task,
    backend: Backend,
    target: Target,
    native: Native,
    precision: PrecisionClass,
    *,
    allow_library: bool = False,
) -> SourceCandidate:
    """`native` as a candidate; UserError when it is for another task or backend."""
    head = native.head
    if head.task is not None and head.task != task.name:
        raise native.error(("task",), f"this is a kernel for {head.task}, not for {task.name}")
    if head.backend != backend.name:
        reason = f"this is a kernel for {head.backend}, not for {backend.name}"
        raise native.error(("backend",), reason)
    if native.python != (backend.extension == ".py"):
        start = PYTHON_START if backend.extension == ".py" else C_START
        raise native.error(("backend",), f"{backend.name} is written under a head of `{start}`")
    return SourceCandidate(task, backend, target, precision, native, allow_library)


class _Assembly:
    """The parts of the text, and the launches with expressions still over names."""

    def __init__(self, candidate: SourceCandidate) -> None:
        self.candidate = candidate
        self.native = native = candidate.native
        self.generator = Generator(
            candidate.task, candidate.backend, candidate.target, candidate.precision
        )
        self.graph = self.generator.graph
        self.printer: DialectPrinter = candidate.backend.printer(candidate.target.arch)
        form = _FORMS.get(candidate.backend.dialect)
        if form is None:
            raise UserError(
                f"{native.name}: files of the dialect {candidate.backend.dialect!r} cannot be read"
            )
        self.form = form
        self.bits = self.generator.index_bits()
        self.shapes = dict(self._shapes())
        self._check_keys()
        self.launches = tuple(self._launch(i) for i in range(len(native.head.launch)))
        self.where = tuple(
            self._expression(text, "where", i) for i, text in enumerate(native.head.where)
        )
        default = self.printer.launcher_name(candidate.task.name, main_dtype(self.graph))
        self.launcher = native.head.entry or default

    def _shapes(self) -> dict[str, tuple[Expression, ...]]:
        """Of every buffer: the task's, then those between kernels."""
        found = {
            name: info.shape
            for name, info in self.graph.tensors.items()
            if info.role in GIVEN_ROLES or info.role == "output"
        }
        for i, temporary in enumerate(self.native.head.temporary):
            place = ("temporary", i, "name")
            if temporary.name in found:
                reason = f"{temporary.name!r} is a buffer of the task already; choose another name"
                raise self.native.error(place, reason)
            found[temporary.name] = tuple(
                self._expression(extent, "temporary", i, "shape", j)
                for j, extent in enumerate(temporary.shape)
            )
        return found

    def legal(self) -> Iterator[dict[str, int | str | bool]]:
        """Sets of parameters that keep to `where` at every workload. UserError without any."""
        offered = self.native.head.parameters
        sizes = [self.graph.sizes(w.sizes) for w in self.candidate.task.workloads()]
        found = False
        # itertools.product turns its last factor fastest: the first parameter is the last to change
        for values in itertools.islice(itertools.product(*offered.values()), _MOST_SETS):
            chosen = dict(zip(offered, values, strict=True))
            if self._keeps(chosen, sizes):
                found = True
                yield {**chosen}
        if not found:
            raise self.native.error(("where",), "no set of parameters keeps to it at every size")

    def _keeps(self, chosen: Mapping[str, int], sizes: Sequence[Mapping[str, int]]) -> bool:
        for i, condition in enumerate(self.where):
            for known in sizes:
                try:
                    if not evaluate(condition, {**known, **chosen}):
                        return False
                except UserError as error:
                    raise self.native.error(("where", i), str(error)) from error
        return True

    @cached_property
    def parameters(self) -> dict[str, int]:
        """The set that the text is compiled with."""
        chosen = self.candidate.parameters
        chosen = next(self.legal()) if chosen is None else chosen
        return {name: int(value) for name, value in chosen.items()}

    def _expression(self, value: int | str, *place: str | int) -> Expression:
        """An expression over sizes that the task has, and parameters of the head. UserError."""
        expression = self.native.expression(value, *place)
        known = {*self.graph.sizes(self.candidate.task.bench), *self.native.head.parameters}
        for name in sorted(names(expression)):
            if name not in known:
                raise self.native.error(place, f"no size {name!r}.{nearest(name, known)}")
        return expression

    def _check_keys(self) -> None:
        """UserError for what this dialect's heads cannot say, or must."""
        native, head, name = self.native, self.native.head, self.candidate.backend.name
        for parameter in head.parameters:
            if parameter in self.graph.sizes(self.candidate.task.bench):
                reason = f"{parameter} is a size of the task; choose another name"
                raise native.error(("parameters", parameter), reason)
        if self.form == "functional":
            if head.launch:
                reason = f"a {name} text launches its kernels itself; write `entry = …` instead"
                raise native.error(("launch", 0), reason)
            if head.temporary:
                raise native.error(("temporary", 0), f"a {name} text makes its own arrays")
            if head.entry is None:
                reason = "`entry` is needed: the function of the inputs that returns the outputs"
                raise native.error((), reason)
            self._defined(head.entry, ("entry",))
            return
        if head.entry is not None:
            reason = f"a {name} kernel is named in [[launch]]; its launcher is made by mkgen"
            raise native.error(("entry",), reason)
        if not head.launch:
            raise native.error((), "no [[launch]]: say which kernel runs, on what, in which grid")
        for i, launch in enumerate(head.launch):
            for key in sorted(launch.model_fields_set & _ONLY.keys()):
                if _ONLY[key] != self.form:
                    raise native.error(("launch", i, key), f"a launch of {name} has no such key")
            if self.form == "simt" and launch.block is None:
                raise native.error(("launch", i), "`block` is needed: threads along x, y, z")
            self._defined(launch.entry, ("launch", i, "entry"))

    def _defined(self, entry: str, place: tuple[str | int, ...]) -> None:
        if not re.search(rf"\b{entry}\b", self.native.code):
            raise self.native.error(place, f"the text defines no {entry!r}")

    def _launch(self, i: int) -> LaunchPlan:
        launch = self.native.head.launch[i]
        writable = self._writable()
        for j, name in enumerate(launch.args):
            if name not in self.shapes:
                hint = nearest(name, self.shapes)
                raise self.native.error(("launch", i, "args", j), f"no buffer {name!r}.{hint}")
        writes = tuple(dict.fromkeys(a for a in launch.args if a in writable))
        if not writes:
            reason = "this kernel is given nothing that it may write: outputs, temporaries"
            raise self.native.error(("launch", i, "args"), reason)
        one = (Int(1), Int(1), Int(1))
        grid = self._three(launch.grid, "launch", i, "grid")
        block = self._three(launch.block, "launch", i, "block") if launch.block else one
        return LaunchPlan(
            entry=launch.entry,
            arguments=launch.args,
            writes=writes,
            grid=grid,
            block=block,
            dynamic_shared=self._expression(launch.shared, "launch", i, "shared"),
            constexprs={
                key: self._expression(
                    int(v) if isinstance(v, bool) else v, "launch", i, "constexprs"
                )
                for key, v in launch.constexprs.items()
            },
            warps=self._expression(launch.warps or 4, "launch", i, "warps"),
            stages=self._expression(launch.stages or 2, "launch", i, "stages"),
            rank=1 if all(e == Int(1) for e in (*grid[1:], *block[1:])) else 3,
            named=True,
        )

    def _three(
        self, extents: tuple[int | str, ...], *place: str | int
    ) -> tuple[Expression, Expression, Expression]:
        made = [self._expression(extent, *place, j) for j, extent in enumerate(extents)]
        x, y, z = (*made, Int(1), Int(1))[:3]
        return x, y, z

    def _writable(self) -> frozenset[str]:
        made = {t.name for t in self.native.head.temporary}
        return frozenset(made | {*self.graph.outputs} | {*self.graph.written_state()})

    @cached_property
    def code(self) -> tuple[str, str]:
        """The file's includes or imports, and the rest."""
        native = self.native
        return _split_python(native) if native.python else _split_c(native)

    def program(self, workload: Workload) -> Program:
        """The program for `workload`. UserError."""
        candidate, printer, native = self.candidate, self.printer, self.native
        values = {**self.graph.sizes(workload.sizes), **self.parameters}
        self._check_extents(workload, values)
        plan = self._plan(values)
        launcher = "" if self.form == "functional" else printer.launcher(plan)
        imports, code = self.code
        added = [
            line
            for line in printer.preamble(code + launcher).splitlines()
            if line not in imports.splitlines()
        ]
        if self.form == "functional":
            added = []
        own = printer.parameters([self.parameters]) if self.parameters else ""
        body = f"{own}{code.rstrip()}\n{launcher}"
        everything = body + "".join(s.body for s in printer.companions(plan, "", ""))
        used = {
            k: v
            for k, v in values.items()
            if k not in self.parameters and re.search(rf"\b{k}\b", everything)
        }
        sizes = printer.sizes(used, self.bits) if used else ""
        source = Source(
            name=f"{candidate.task.name}{printer.extension}",
            language=printer.language,
            head=native.comment,
            preamble=imports + "".join(f"{line}\n" for line in added),
            sizes=sizes,
            body=body,
        )
        return Program(
            task=candidate.task.name,
            task_hash=candidate.task.hash,
            workload=workload.name,
            target=candidate.target,
            precision=candidate.precision,
            sources=(source, *printer.companions(plan, native.comment, sizes)),
            buffers=(*plan.inputs, *plan.outputs, *plan.temporaries),
            steps=self._steps(plan, source.name, values),
            variant=Variant(
                templates=(TEMPLATE,),
                parameters={
                    **self.parameters,
                    "file": native.sha[:16],
                    **({"library": True} if candidate.allow_library else {}),
                },
                index_bits=self.bits,
            ),
            launcher=plan.launcher,
            constants=used,
        )

    def _check_extents(self, workload: Workload, values: Mapping[str, int]) -> None:
        """UserError for a grid, block or buffer that has no sense at these sizes."""
        named = ", ".join(f"{k}={v}" for k, v in workload.sizes.items())

        def check(
            expression: Expression, lowest: int, *place: str | int, most: int = _MOST
        ) -> None:
            try:
                value = evaluate(expression, values)
            except UserError as error:
                raise self.native.error(place, f"{error}, at {workload.name} ({named})") from error
            if not lowest <= value <= most:
                reason = f"{value} at {workload.name} ({named}); it must be {lowest} to {most}"
                raise self.native.error(place, reason)

        for i, launch in enumerate(self.launches):
            for key in ("grid", "block"):
                for j, expression in enumerate(getattr(launch, key)):
                    check(expression, 1, "launch", i, key, j)
            check(launch.dynamic_shared, 0, "launch", i, "shared")
            for expression in launch.constexprs.values():
                check(expression, -_MOST, "launch", i, "constexprs")
            for key, most in (("warps", _MOST_WARPS), ("stages", _MOST_STAGES)):
                check(getattr(launch, key), 1, "launch", i, key, most=most)
        for i, temporary in enumerate(self.native.head.temporary):
            for j, expression in enumerate(self.shapes[temporary.name]):
                check(expression, 0, "temporary", i, "shape", j)

    def _plan(self, values: Mapping[str, int]) -> Plan:
        graph, task = self.graph, self.candidate.task

        def buffer(name: str, dtype: str, role: BufferRole) -> Buffer:
            shape = tuple(evaluate(e, values) for e in self.shapes[name])
            return Buffer(name=name, dtype=cast(Dtype, dtype), shape=shape, role=role)

        given = [(n, t) for n, t in graph.tensors.items() if t.role in GIVEN_ROLES]
        return Plan(
            name=task.name,
            title=task.title,
            launcher=self.launcher,
            inputs=tuple(buffer(n, t.dtype, BufferRole(t.role)) for n, t in given),
            outputs=tuple(
                buffer(n, graph.tensors[n].dtype, BufferRole.OUTPUT) for n in graph.outputs
            ),
            temporaries=tuple(
                buffer(t.name, t.dtype, BufferRole.TEMPORARY) for t in self.native.head.temporary
            ),
            shapes=self.shapes,
            launches=self.launches,
            parameters=self.parameters,
        )

    def _steps(self, plan: Plan, source: str, values: Mapping[str, int]) -> tuple[Step, ...]:
        if self.form == "functional":
            # What the function launches inside is its own matter; the compiled module tells.
            reads = tuple(b.name for b in plan.inputs)
            writes = (*self.graph.outputs, *self.graph.written_state())
            arguments = tuple(dict.fromkeys((*reads, *writes)))
            return (
                Launch(
                    source=source, entry=plan.launcher, args=arguments, reads=reads, writes=writes,
                    configuration=Functional(),
                ),
            )  # fmt: skip
        made = launch_steps(plan, source, self.printer, values)
        return tuple(
            _relying_on(step, launch)
            for step, launch in zip(made, self.native.head.launch, strict=True)
        )


def _relying_on(step: Step, launch: HeadLaunch) -> Step:
    """`step` with the lanes that its head names."""
    if not isinstance(step, Launch) or not isinstance(step.configuration, Simt):
        return step
    configuration = step.configuration.model_copy(update={"sub_group": launch.sub_group})
    return step.model_copy(update={"configuration": configuration})


def _split_c(native: Native) -> tuple[str, str]:
    """Everything up to the last of the includes at the file's beginning, and the rest."""
    lines = native.code.split("\n")
    end, commented = 0, False
    for position, line in enumerate(lines):
        stripped = line.strip()
        if commented or stripped.startswith("/*"):
            commented = "*/" not in stripped
        elif re.match(r"#\s*(include|pragma\s+once)\b", stripped):
            end = position + 1
        elif stripped and not stripped.startswith("//"):
            break
    return "".join(f"{line}\n" for line in lines[:end]), "\n".join(lines[end:])


def _split_python(native: Native) -> tuple[str, str]:
    """Docstring and imports at the file's beginning, and the rest. UserError when it is broken."""
    try:
        tree = module_tree(native.code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = native.code_line + (getattr(error, "lineno", None) or 1) - 1
        told = getattr(error, "msg", None) or str(error)
        raise UserError(f"{native.name}, line {line}: {told}") from error
    end = 0
    for statement in tree.body:
        docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not (docstring or isinstance(statement, ast.Import | ast.ImportFrom)):
            break
        end = statement.end_lineno or end
    lines = native.code.split("\n")
    return "".join(f"{line}\n" for line in lines[:end]), "\n".join(lines[end:])

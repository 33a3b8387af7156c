"""Candidates from templates: every legal way to render a task for a target."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from mkgen.codegen.backend import Backend
from mkgen.codegen.capability import no_template, require
from mkgen.codegen.render import Request, parameter_prefix, refusal, render
from mkgen.codegen.row_views import make_view
from mkgen.codegen.template import Parameters, Template, templates_for
from mkgen.codegen.view import View
from mkgen.errors import UnsupportedError
from mkgen.expression import evaluate
from mkgen.frontend import lower_task
from mkgen.ir.fusion import fuse
from mkgen.ir.kernel import Kernel
from mkgen.ir.nest import Graph
from mkgen.profile import HardwareProfile, find_profile
from mkgen.program import PrecisionClass, Program
from mkgen.target import Target
from mkgen.task import Sizes, Task, Workload

_ITEM_BYTES = {"float64": 8, "int64": 8, "float32": 4, "int32": 4, "float16": 2, "bfloat16": 2,
               "int16": 2, "int8": 1, "uint8": 1, "bool": 1}  # fmt: skip


@dataclass(frozen=True)
class TemplateCandidate:
    """A task on a target through chosen templates and parameters."""

    task: Task
    backend: Backend
    target: Target
    precision: PrecisionClass
    request: Request
    origin: str = "template"

    def program(self, workload: Workload) -> Program:
        """The program for `workload`. UnsupportedError when the parameters do not fit its sizes."""
        generator = Generator(self.task, self.backend, self.target, self.precision, workload)
        for kernel, template in zip(self.request.kernels, self.request.templates, strict=True):
            prefix = parameter_prefix(self.request.kernels, kernel)
            own = {
                k.removeprefix(prefix): v
                for k, v in self.request.parameters.items()
                if k.startswith(prefix)
            }
            if not template.legal(own, generator.facts(kernel)):
                raise UnsupportedError(
                    f"{template.name} with {own} is not legal for {workload.name} "
                    f"({', '.join(f'{k}={v}' for k, v in workload.sizes.items())})"
                )
        return render(self.request, self.backend.printer(self.target.arch), workload)


@dataclass(frozen=True)
class Option:
    """One way to render one kernel."""

    template: Template
    parameters: Parameters
    shown: bool
    """Whether check and held-out sizes can prove it: the parameters are legal at each of them and
    together they show what the template requires (loops of two rounds, tails)."""


class Generator:
    """Everything templates can make of one task, on one target, at the sizes of one workload."""

    def __init__(
        self,
        task: Task,
        backend: Backend,
        target: Target,
        precision: PrecisionClass = PrecisionClass.STRICT,
        workload: Workload | None = None,
    ) -> None:
        self.task, self.backend, self.target, self.precision = task, backend, target, precision
        self.workload = workload or task.workloads()[0]

    @cached_property
    def graph(self) -> Graph:
        """The task's nests."""
        return lowered(self.task)

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """The task's kernels as this dialect fuses them."""
        printer = self.backend.printer(self.target.arch)
        return fuse(self.graph, printer.tiles_last_axis, printer.stacks)

    @cached_property
    def profile(self) -> HardwareProfile:
        """The hardware profile of the target."""
        return find_profile(self.target.device or self.backend.archs[self.target.arch].profile)

    @cached_property
    def sizes(self) -> Sizes:
        """The workload's sizes and what follows from them."""
        return self.graph.sizes(self.workload.sizes)

    def index_bits(self) -> Literal[32, 64]:
        """64 when any tensor of any workload has 2**31 elements or more."""
        largest = max(
            math.prod(self.graph.shape(t, self.graph.sizes(w.sizes)))
            for t in self.graph.tensors
            for w in (*self.task.workloads(), self.workload)
        )
        return 64 if largest >= 2**31 else 32

    def view(self, kernel: Kernel) -> View:
        """`kernel` through the dialect's printer; made once."""
        key = id(kernel)
        if key not in self._views:
            printer = self.backend.printer(self.target.arch)
            self._views[key] = make_view(kernel, self.graph, printer)
        return self._views[key]

    @cached_property
    def _views(self) -> dict[int, View]:
        return {}

    def facts(self, kernel: Kernel, workload: Workload | None = None) -> dict[str, int]:
        """Names a template's expressions may use: sizes, extents, limits of the device."""
        backend, profile = self.backend, self.profile
        printer, view = backend.printer(self.target.arch), self.view(kernel)
        sizes = self.graph.sizes(workload.sizes) if workload else self.sizes
        facts = dict(sizes)
        facts |= {k: evaluate(e, sizes) for k, e in view.extents().items()}
        facts["sub_group"] = backend.archs[self.target.arch].sub_group
        facts["shuffles"] = int(printer.shuffles)
        facts["splits"] = int(printer.splits)
        facts["plain"] = int(view.plain())
        facts["strided"] = int(view.strided())
        facts["passes"] = len(kernel.reductions) + bool(kernel.stores)
        facts["buffers"] = len(view.arguments)
        facts["threads_per_block"] = limit(profile, "threads_per_block", 1024)
        facts["shared_bytes"] = limit(profile, "shared_bytes_per_block", 32768)
        # four rows in flight on every unit: do they stay in the cache until they are read again?
        rows = 4 * limit(profile, "compute_units", 1) * facts["cols"] * 4
        facts["rows_in_cache"] = int(rows < limit(profile, "last_level_cache_bytes", 0))
        facts["vmem_bytes"] = limit(profile, "scoped_vmem_bytes", 16 << 20)
        reads = [a.name for a in view.arguments if not a.output]
        writes = [a.name for a in view.arguments if a.output]
        loop = self.graph.loop(kernel.loop) if kernel.loop else None
        facts["rounds"] = evaluate(loop.axis.extent, sizes) if loop else 1
        facts["input_bytes"] = sum(self._bytes(name, sizes, view.graph) for name in reads)
        facts["output_bytes"] = sum(self._bytes(name, sizes, view.graph) for name in writes)
        return facts

    def _bytes(self, tensor: str, sizes: Sizes, graph: Graph) -> int:
        info = graph.tensors[tensor]
        return math.prod(graph.shape(tensor, sizes)) * _ITEM_BYTES[info.dtype]

    def templates(self, kernel: Kernel) -> tuple[Template, ...]:
        """Templates that can render `kernel`, the most special ones only.

        Those made for its tag come before those for any, and these before fallbacks. Raises
        UnsupportedError with every template's reason when there are none.
        """
        dtypes = {self.graph.tensors[t].dtype for t in (*kernel.reads(), *kernel.writes())}
        arch = self.target.arch
        require(self.backend, arch, kernel, dtypes)
        found = templates_for(kernel, self.backend.dialect, arch, dtypes)
        found = tuple(t for t in found if self.index_bits() in t.spec.index_bits)
        refusals = []
        for special in (
            [t for t in found if t.spec.tags and not t.spec.fallback],
            [t for t in found if not t.spec.tags and not t.spec.fallback],
            [t for t in found if t.spec.fallback],
        ):
            reasons = {t.name: self._refusal(kernel, t) for t in special}
            kept = tuple(t for t in special if not reasons[t.name])
            if kept:
                return kept
            refusals += [f"{name}: {reason}" for name, reason in reasons.items()]
        error = no_template(self.backend, arch, kernel, dtypes, self.index_bits())
        raise UnsupportedError(". ".join([str(error), *refusals]))

    def _refusal(self, kernel: Kernel, template: Template) -> str:
        """Why `template` cannot render `kernel` or has no legal parameters; empty when it can."""
        first = next(template.parameter_sets(self.facts(kernel)), None)
        if first is None:
            return f"no parameters are legal at {self.workload.name} on {self.profile.name}"
        request = Request(
            self.task, self.graph, (kernel,), (template,), first, self.index_bits(), self.target,
            self.precision,
        )  # fmt: skip
        return refusal(request, self.backend.printer(self.target.arch))

    def options(self, kernel: Kernel) -> tuple[Option, ...]:
        """Every legal way to render `kernel`, in the templates' own order."""
        key = id(kernel)
        if key not in self._options:
            facts = self.facts(kernel)
            judged = [self.facts(kernel, w) for w in self.task.workloads() if w.role != "bench"]
            self._options[key] = tuple(
                Option(template, parameters, _shown(template, parameters, judged))
                for template in self.templates(kernel)
                for parameters in template.parameter_sets(facts)
            )
        return self._options[key]

    @cached_property
    def _options(self) -> dict[int, tuple[Option, ...]]:
        return {}

    def candidates(self) -> Iterator[TemplateCandidate]:
        """Every legal choice of templates and parameters: for many kernels, a great many."""
        for choice in itertools.product(*(self.options(k) for k in self.kernels)):
            yield self.chosen(choice)

    def chosen(self, options: Sequence[Option]) -> TemplateCandidate:
        """The candidate with one option per kernel."""
        return self.candidate(tuple(o.template for o in options), [o.parameters for o in options])

    def candidate(
        self, templates: tuple[Template, ...], parameters: list[Parameters]
    ) -> TemplateCandidate:
        """The candidate with one template and one parameter set per kernel."""
        named: Parameters = {}
        for kernel, own in zip(self.kernels, parameters, strict=True):
            prefix = parameter_prefix(self.kernels, kernel)
            named |= {f"{prefix}{k}": v for k, v in own.items()}
        request = Request(
            self.task, self.graph, self.kernels, templates, named, self.index_bits(),
            self.target, self.precision,
        )  # fmt: skip
        return TemplateCandidate(self.task, self.backend, self.target, self.precision, request)


def _shown(template: Template, parameters: Parameters, judged: Sequence[Mapping[str, int]]) -> bool:
    if not all(template.legal(parameters, facts) for facts in judged):
        return False
    known = [{**facts, **parameters} for facts in judged]
    return all(any(evaluate(c, k) for k in known) for c in template.requirements)


_lowered: dict[str, Graph] = {}
_lowering = threading.RLock()


def lowered(task: Task) -> Graph:
    """The task's nests, lowered once per process."""
    with _lowering:  # torch.export keeps global state: two threads at once spoil it
        if task.hash not in _lowered:
            _lowered[task.hash] = lower_task(task)
        return _lowered[task.hash]


def limit(profile: HardwareProfile, fact: str, default: int) -> int:
    """A limit of the device, or what every device of its kind has."""
    return profile.integer(fact) if fact in profile.facts else default


def scales(
    task: Task, workload: Workload, inputs: Mapping[str, np.ndarray]
) -> list[tuple[np.ndarray, float]]:
    """Per output the rounding error bound of each element, in units of epsilon, and 1."""
    from mkgen.ir.interpreter import run_with_error

    graph = lowered(task)
    done = run_with_error(graph, workload.sizes, inputs)
    return [(error, 1.0) for _, error in done.values()]

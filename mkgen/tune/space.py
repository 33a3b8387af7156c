"""The legal choices of one kernel, as points of a search."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.codegen.render import parameter_prefix
from mkgen.codegen.template import Parameters, Template
from mkgen.errors import UnsupportedError
from mkgen.evaluate.limits import launch_excess, target_limits
from mkgen.expression import evaluate, parse
from mkgen.ir.kernel import Kernel
from mkgen.tune.model import Estimate, estimate
from mkgen.tune.search import Space

#: Steps in the lists of a template's values that a neighbour may be away.
_NEAR = 2

Pick = tuple[Template, Parameters]
"""What is chosen for one kernel."""


@dataclass(frozen=True)
class Point:
    """One choice for one kernel, and the model's estimate of the whole program with it."""

    pick: Pick
    estimate: Estimate


@dataclass(frozen=True)
class KernelSpace:
    """Choices for one kernel, best estimate first."""

    kernel: Kernel
    points: tuple[Point, ...]
    dropped: Mapping[str, int]
    """Why others are not among them, and how many."""

    def search_space(self, start: Sequence[Pick]) -> Space:
        """The points as numbers; those of `start` that are here are tried first."""
        picks = [point.pick for point in self.points]
        first = tuple(dict.fromkeys(picks.index(pick) for pick in start if pick in picks))
        return Space(len(picks), self.neighbours, first)

    def neighbours(self, number: int) -> list[int]:
        """Points of the same template that few steps of its parameters lead to, nearest first."""
        here = self.points[number].pick
        away = {n: _steps(here, point.pick) for n, point in enumerate(self.points)}
        near = [n for n, steps in away.items() if steps is not None and 0 < steps <= _NEAR]
        return sorted(near, key=lambda n: away[n] or 0)


def _steps(a: Pick, b: Pick) -> int | None:
    """Steps from one parameter set to the other in the template's lists; None: no way."""
    if a[0] is not b[0]:
        return None
    values = a[0].spec.parameters
    return sum(abs(values[k].index(a[1][k]) - values[k].index(b[1][k])) for k in values)


def assemble(generator: Generator, picks: Sequence[Pick]) -> TemplateCandidate:
    """The candidate with these choices, one per kernel."""
    return generator.candidate(tuple(t for t, _ in picks), [p for _, p in picks])


def picks_of(candidate: TemplateCandidate) -> list[Pick]:
    """The choices that make `candidate`, one per kernel."""
    request = candidate.request
    picks: list[Pick] = []
    for kernel, template in zip(request.kernels, request.templates, strict=True):
        prefix = parameter_prefix(request.kernels, kernel)
        own = {
            k.removeprefix(prefix): v for k, v in request.parameters.items() if k.startswith(prefix)
        }
        picks.append((template, own))
    return picks


def spaces(generator: Generator) -> list[KernelSpace]:
    """The choices for each kernel, ranked by the model. UnsupportedError when one has none.

    Choices that check and held-out sizes cannot show to be right are left out: they would be
    measured and could never pass.
    """
    legal = [_legal(generator, kernel) for kernel in generator.kernels]
    first = [choices[0] for choices in legal]
    return [_ranked(generator, number, choices, first) for number, choices in enumerate(legal)]


def _legal(generator: Generator, kernel: Kernel) -> list[Pick]:
    facts = generator.facts(kernel)
    found = [
        (template, parameters)
        for template in generator.templates(kernel)
        for parameters in template.parameter_sets(facts)
    ]
    if not found:
        names = ", ".join(t.name for t in generator.templates(kernel))
        raise UnsupportedError(
            f"no parameters of {names} are legal for {generator.task.name} at "
            f"{generator.workload.name} on {generator.target}"
        )
    return found


def _ranked(
    generator: Generator, number: int, choices: Sequence[Pick], others: Sequence[Pick]
) -> KernelSpace:
    kernel = generator.kernels[number]
    limits = target_limits(generator.backend, generator.target)
    small = _small_facts(generator, kernel)
    kept: list[Point] = []
    untold: list[Point] = []
    dropped: Counter[str] = Counter()
    for pick in choices:
        candidate = assemble(generator, [*others[:number], pick, *others[number + 1 :]])
        program = candidate.program(generator.workload)
        excess = launch_excess(program, limits)
        if excess:
            dropped[excess] += 1
            continue
        point = Point(pick, estimate(generator, candidate, program))
        reason = _untold(pick, small)
        (untold if reason else kept).append(point)
        dropped.update([reason] if reason else [])
    # another kernel may show what this one cannot, so all is better than none
    kept = kept or untold
    if not kept:
        raise UnsupportedError(
            f"no choice for kernel {kernel.name} of {generator.task.name} fits "
            f"{generator.target}: {'; '.join(dropped)}"
        )
    kept.sort(key=lambda point: point.estimate.seconds)  # stable: else the template's own order
    return KernelSpace(kernel, tuple(kept), dropped)


def _small_facts(generator: Generator, kernel: Kernel) -> dict[str, dict[str, int]]:
    """What a template's expressions may use, by check and held-out workload."""
    g = generator
    return {
        workload.name: Generator(g.task, g.backend, g.target, g.precision, workload).facts(kernel)
        for workload in g.task.workloads()[1:]
    }


def _untold(pick: Pick, small: Mapping[str, Mapping[str, int]]) -> str:
    """Why small sizes cannot show that a choice is right; empty when they can."""
    template, parameters = pick
    for name, facts in small.items():
        if not template.legal(parameters, facts):
            return f"not legal at {name}"
    for condition in template.spec.requirements:
        parsed = parse(condition)
        if not any(evaluate(parsed, {**facts, **parameters}) for facts in small.values()):
            return f"no check or held-out size shows {condition}"
    return ""


def ruled_out(generator: Generator, kernel: Kernel) -> dict[str, int]:
    """Constraint -> how many parameter sets it is the first to rule out at these sizes."""
    facts = generator.facts(kernel)
    counted: Counter[str] = Counter()
    for template in generator.templates(kernel):
        spec = template.spec
        for values in itertools.product(*spec.parameters.values()):
            known = {**facts, **dict(zip(spec.parameters, values, strict=True))}
            broken = next((c for c in spec.constraints if not evaluate(parse(c), known)), None)
            if broken is not None:
                counted[f"{template.name} asks for {broken}"] += 1
    return dict(counted.most_common())

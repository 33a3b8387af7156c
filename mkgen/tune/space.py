"""The legal options of one kernel, as points of a search."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.codegen.render import parameter_prefix
from mkgen.codegen.template import Parameters, Template
from mkgen.expression import evaluate, parse
from mkgen.ir.kernel import Kernel
from mkgen.tune.choose import rank_kernel
from mkgen.tune.model import Estimate
from mkgen.tune.search import Space

#: Steps in the lists of a template's values that a neighbour may be away.
_NEAR = 2

Pick = tuple[Template, Parameters]
"""What is chosen for one kernel."""


@dataclass(frozen=True)
class Point:
    """One option for a kernel, and the model's estimate of that kernel with it."""

    pick: Pick
    estimate: Estimate


@dataclass(frozen=True)
class KernelSpace:
    """Options for one kernel, best estimate first."""

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
    """The options of each kernel, ranked by the model. UnsupportedError when one has none.

    Options that check and held-out sizes cannot prove are left out, where there are others: they
    would be measured and could never pass.
    """
    return [_space(generator, kernel) for kernel in generator.kernels]


def _space(generator: Generator, kernel: Kernel) -> KernelSpace:
    ranked = rank_kernel(generator, kernel)
    shown = [r for r in ranked if r.option.shown] or ranked
    unproven = len(ranked) - len(shown)
    why = "check and held-out sizes do not show all their loops and tails"
    return KernelSpace(
        kernel,
        tuple(Point((r.option.template, r.option.parameters), r.estimate) for r in shown),
        {why: unproven} if unproven else {},
    )


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

"""Chooses parameters without a device: rank by the model, compile the best, rank again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from mkgen.codegen.candidate import Generator, Option, TemplateCandidate
from mkgen.codegen.render import entry_name
from mkgen.errors import UnsupportedError
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.jobs import compile_program
from mkgen.evaluate.limits import artifact_excess, launch_excess, target_limits
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.expression import evaluate, parse
from mkgen.ir.kernel import Kernel
from mkgen.program import Artifact, Program, Resources
from mkgen.tune.model import Estimate, estimate, kernel_estimate, total

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Choice:
    """A candidate with its estimate."""

    candidate: TemplateCandidate
    estimate: Estimate


@dataclass(frozen=True)
class Ranked:
    """One way to render one kernel, with its estimate before compiling."""

    option: Option
    estimate: Estimate


def choose(
    generator: Generator,
    workers: Workers,
    cache: CompileCache | None,
    compile_count: int = 4,
    progress: Progress | None = None,
    timeout: float = 300.0,
) -> tuple[list[Choice], int]:
    """The best candidates, best first, and how many options the kernels have in all.

    Kernels are chosen independently: the options of each are ranked by the model, the i-th best of
    all kernels together make the i-th candidate. `compile_count` candidates are compiled (two when
    there are several kernels) and every kernel's compiled options are ranked again by what the
    compiler says of registers, shared memory and spills. Those it refuses or that exceed the device
    are dropped. A compiler that says nothing of registers can change no rank: there one is
    compiled, and the others follow as the model has them. Raises the last refusal when none is
    left.
    """
    ranked = [rank_kernel(generator, k) for k in generator.kernels]
    wanted = compile_count if len(ranked) == 1 else min(2, compile_count)
    limits = target_limits(generator.backend, generator.target)
    kept: list[tuple[tuple[Option, ...], Program, Artifact]] = []
    refusal: Exception | None = None
    tried = 0
    combinations = _combinations(ranked, 40 * wanted)
    for options in combinations:
        if tried >= wanted and (kept or tried >= 4 * wanted):
            break
        program = generator.chosen(options).program(generator.workload)
        if excess := launch_excess(program, limits):
            refusal = UnsupportedError(f"{generator.target}: {excess}")
            continue
        tried += 1
        if progress:
            progress(tried, wanted)
        try:
            artifact = compile_program(workers, generator.backend, program, cache, timeout)
        except WorkerFailure as failure:
            refusal = failure
            continue
        if excess := artifact_excess(program, artifact, limits):
            refusal = UnsupportedError(f"{generator.target}: {excess}")
            continue
        kept.append((options, program, artifact))
        if not any(r.registers for r in artifact.resources.values()):
            break
    if not kept:
        raise refusal or UnsupportedError(f"no legal candidate for {generator.target}")
    choices = _ranked_again(generator, kept)
    for options in islice(combinations, max(0, wanted - tried)):
        candidate = generator.chosen(options)
        guess = estimate(generator, candidate, candidate.program(generator.workload))
        choices.append(Choice(candidate, guess))
    return choices, sum(map(len, ranked))


def rank_kernel(generator: Generator, kernel: Kernel) -> list[Ranked]:
    """The options of `kernel`, best estimate first, those that can be proven before all others.

    Of equal estimates the one with fewer programs: it costs less to start, and to emulate.
    """
    facts = generator.facts(kernel)
    scored = [
        Ranked(o, kernel_estimate(generator, facts, o.template, o.parameters))
        for o in generator.options(kernel)
    ]
    # a stable sort: of equals the first in the template's own order
    return sorted(
        scored, key=lambda r: (not r.option.shown, r.estimate.seconds, _programs(r.option, facts))
    )


def _programs(option: Option, facts: Mapping[str, int]) -> int:
    """How many programs (blocks) one launch of `option` has."""
    known = {**facts, **option.parameters}
    return math.prod(evaluate(parse(e), known) for e in option.template.spec.launch.grid)


def rank(generator: Generator) -> list[Choice]:
    """Candidates, best estimate first; nothing is compiled for it.

    For several kernels the i-th has the i-th best option of each.
    """
    ranked = [rank_kernel(generator, k) for k in generator.kernels]
    longest = max(map(len, ranked))
    return [
        Choice(
            generator.chosen([row[min(i, len(row) - 1)].option for row in ranked]),
            total([row[min(i, len(row) - 1)].estimate for row in ranked]),
        )
        for i in range(longest)
    ]


def _combinations(ranked: Sequence[Sequence[Ranked]], count: int) -> Iterator[tuple[Option, ...]]:
    """The i-th best of every kernel, for i up to `count` or the longest list."""
    for i in range(min(count, max(map(len, ranked)))):
        yield tuple(row[min(i, len(row) - 1)].option for row in ranked)


def _ranked_again(
    generator: Generator, kept: Sequence[tuple[tuple[Option, ...], Program, Artifact]]
) -> list[Choice]:
    """Compiled candidates by what the compiler said; first the best compiled option of each kernel.

    That mixture may be none of those compiled; it is compiled when it is evaluated.
    """
    whole = []
    per_kernel: list[list[tuple[float, int]]] = [[] for _ in generator.kernels]
    for number, (options, program, artifact) in enumerate(kept):
        candidate = generator.chosen(options)
        whole.append(Choice(candidate, estimate(generator, candidate, program, artifact)))
        resources = _resources(candidate, artifact)
        for at, (kernel, option) in enumerate(zip(generator.kernels, options, strict=True)):
            facts = generator.facts(kernel)
            guess = kernel_estimate(
                generator, facts, option.template, option.parameters, resources.get(at)
            )
            per_kernel[at].append((guess.seconds, number))
    order = sorted(whole, key=lambda c: c.estimate.seconds)
    best = [min(row)[1] for row in per_kernel]
    if len(set(best)) > 1:
        mixed = generator.chosen([kept[n][0][at] for at, n in enumerate(best)])
        order.insert(0, Choice(mixed, order[0].estimate))
    return order


def _resources(candidate: TemplateCandidate, artifact: Artifact) -> Mapping[int, Resources]:
    """What the compiler said of each kernel, by position; of its last launch if it has several."""
    entries = [entry_name(candidate.request, k) for k in candidate.request.kernels]
    found = {at: artifact.resources.get(entry) for at, entry in enumerate(entries)}
    return {at: r for at, r in found.items() if r is not None}

"""Chooses parameters without a device: rank by the model, compile the best, rank again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.errors import UnsupportedError
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.jobs import compile_program
from mkgen.evaluate.limits import artifact_excess, launch_excess, target_limits
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.tune.model import Estimate, estimate

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Choice:
    """A candidate with its estimate."""

    candidate: TemplateCandidate
    estimate: Estimate


def choose(
    generator: Generator,
    workers: Workers,
    cache: CompileCache | None,
    compile_count: int = 4,
    progress: Progress | None = None,
    timeout: float = 300.0,
) -> tuple[list[Choice], int]:
    """The best candidates, best first, and how many were legal.

    All legal ones are ranked by the model; `compile_count` of the best are compiled and ranked
    again by what the compiler says of registers, shared memory and spills. Those it refuses or
    that exceed the device are dropped. Raises the last refusal when none is left.
    """
    ranked = rank(generator)
    limits = target_limits(generator.backend, generator.target)
    kept: list[Choice] = []
    refusal: Exception | None = None
    tried = 0
    for candidate in (c.candidate for c in ranked):
        if tried >= compile_count and (kept or tried >= 4 * compile_count):
            break
        program = candidate.program(generator.workload)
        if launch_excess(program, limits):
            continue
        tried += 1
        if progress:
            progress(tried, compile_count)
        try:
            artifact = compile_program(workers, generator.backend, program, cache, timeout)
        except WorkerFailure as failure:
            refusal = failure
            continue
        excess = artifact_excess(program, artifact, limits)
        if excess:
            refusal = UnsupportedError(f"{generator.target}: {excess}")
            continue
        kept.append(Choice(candidate, estimate(generator, candidate, program, artifact)))
    if not kept:
        raise refusal or UnsupportedError(f"no legal candidate for {generator.target}")
    kept.sort(key=lambda c: c.estimate.seconds)
    return kept, len(ranked)


def rank(generator: Generator) -> list[Choice]:
    """Legal candidates, best estimate first; nothing is compiled for it."""
    scored: list[Choice] = []
    for candidate in generator.candidates():
        program = candidate.program(generator.workload)
        scored.append(Choice(candidate, estimate(generator, candidate, program)))
    # a stable sort: of equals the first in the template's own order
    return sorted(scored, key=lambda c: c.estimate.seconds)

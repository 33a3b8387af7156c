"""Mutants as candidates of the protocol, and the programs they are made from."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.codegen.registry import backend_named
from mkgen.errors import UnsupportedError
from mkgen.evaluate.execution import Programs
from mkgen.program import PrecisionClass, Program
from mkgen.target import Target
from mkgen.task import Task, Workload, find_task, task_files

from .mutators import KINDS, Mutation, mutations

BACKENDS = ("cuda", "hip", "opencl", "pallas", "sycl", "triton")
_SEARCHED = 200


@dataclass(frozen=True)
class Mutant:
    """A candidate whose text has one fault, the same at every size."""

    base: TemplateCandidate
    mutation: Mutation
    task: Task
    """The base's, or the same with fewer sizes."""
    origin: str = "mutant"

    @property
    def backend(self) -> Backend:
        """What compiles and runs it."""
        return self.base.backend

    @property
    def target(self) -> Target:
        """For what it is compiled."""
        return self.base.target

    @property
    def precision(self) -> PrecisionClass:
        """The rounding the unchanged program is allowed."""
        return self.base.precision

    @property
    def key(self) -> tuple[str, str, str]:
        """Task, backend, description: what `equivalent.toml` names."""
        return self.base.task.name, self.backend.name, self.mutation.description

    def program(self, workload: Workload) -> Program:
        """The base's program with the changed line."""
        program = self.base.program(workload)
        kernels, *others = program.sources
        changed = kernels.model_copy(update={"body": self.mutation.apply(kernels.body)})
        return program.model_copy(update={"sources": (changed, *others)})

    def first_check_only(self) -> Mutant:
        """The same with the first check size alone: for executors that compile every size."""
        sizes = {"check": self.task.check[:1], "heldout": ()}
        return replace(self, task=self.task.model_copy(update=sizes))


def bases(backend_name: str, task_name: str) -> list[TemplateCandidate]:
    """Up to two unchanged candidates: the first legal one that its check sizes cover, and the
    first that differs from it in a yes-or-no parameter, else the next.
    """
    backend = backend_named(backend_name)
    target = Target(backend=backend_name, arch=backend.default_arch)
    generator = Generator(find_task(task_name), backend, target)
    found: list[TemplateCandidate] = []
    for candidate, _ in zip(generator.candidates(), range(_SEARCHED), strict=False):
        if found and _flags(candidate) == _flags(found[0]):
            continue
        if _many_waves(candidate) and _covered(candidate):
            found.append(candidate)
        if len(found) == 2:
            break
    if not found:
        raise UnsupportedError(f"{task_name} on {backend_name}: no parameters fit the check sizes")
    return found


def _many_waves(candidate: TemplateCandidate) -> bool:
    # With one wave a work-group needs no barrier, with two its loop over waves has one round.
    threads = candidate.request.parameters.get("THREADS")
    lanes = candidate.backend.archs[candidate.target.arch].sub_group
    return (
        "SHUFFLE" not in _flags(candidate) or not isinstance(threads, int) or threads >= 4 * lanes
    )


def _flags(candidate: TemplateCandidate) -> dict[str, bool]:
    return {k: v for k, v in candidate.request.parameters.items() if isinstance(v, bool)}


def _covered(candidate: TemplateCandidate) -> bool:
    first, *rest = candidate.task.workloads()
    try:
        bench = candidate.program(first)
        small = tuple((workload, candidate.program(workload)) for workload in rest)
    except UnsupportedError:
        return False
    same = all(p.text_sha == bench.text_sha for _, p in small)
    return same and not Programs(first, bench, small).uncovered()


def every_mutant(backends: Sequence[str] = BACKENDS) -> Iterator[Mutant]:
    """Each mutant of each base; one of several with the same description on a task is kept."""
    for backend_name in backends:
        for task_name in task_files():
            seen: set[str] = set()
            for base in bases(backend_name, task_name):
                program = base.program(base.task.workloads()[1])
                language = base.backend.language
                body = program.sources[0].body
                for mutation in mutations(body, language, program.constants):
                    if mutation.description not in seen:
                        seen.add(mutation.description)
                        yield Mutant(base, mutation, base.task)


def sample(mutants: Iterable[Mutant], seed: int, per_kind: int) -> list[Mutant]:
    """`per_kind` mutants of each kind on each backend, the tasks in turn; the same for a seed."""
    groups: dict[tuple[str, str], list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        groups[mutant.backend.name, mutant.mutation.kind].append(mutant)
    chosen: list[Mutant] = []
    for (backend_name, kind), group in sorted(groups.items(), key=lambda g: _place(*g[0])):
        drawn = random.Random(f"{seed} {backend_name} {kind}")
        by_task: dict[str, list[Mutant]] = defaultdict(list)
        for mutant in group:
            by_task[mutant.task.name].append(mutant)
        queues = list(by_task.values())
        drawn.shuffle(queues)
        for queue in queues:
            drawn.shuffle(queue)
        rounds = max(len(queue) for queue in queues)
        order = [queue[i] for i in range(rounds) for queue in queues if i < len(queue)]
        chosen.extend(order[:per_kind])
    return chosen


def _place(backend_name: str, kind: str) -> tuple[str, int]:
    return backend_name, KINDS.index(kind)
